"""Statistics of 50 probes against a whole matrix: beside the loop of a notebook, and beside one bare product."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.tables import noise
from embcheck.measures import probe_cosines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.registry import Row, Run

PROBES, TIMED = 50, 2


def one_probe(matrix: torch.Tensor, probe: int) -> tuple[float, float, float, float, float]:
    """One probe as a notebook does it: a copy of all other rows, products, norms of all rows again.

    Share of cosines at zero or above, their smallest, largest, mean and median.
    """
    rest = torch.cat([matrix[:probe], matrix[probe + 1 :]])
    cosine = torch.mv(rest, matrix[probe]) / (rest.norm(dim=1) * matrix[probe].norm())
    figures = (cosine.min(), cosine.max(), cosine.mean(), cosine.median())
    return (float((cosine >= 0).float().mean()), *map(float, figures))  # type: ignore[return-value]


def rows(run: Run) -> Iterator[Row]:
    """Two ratios, and what the lengths cost that a table works out once."""
    size, width = run.size((262_144, 640), (3_000, 32))
    table = noise(size, width)
    matrix, probes = table.vectors, table.probes(PROBES)
    population = table.population  # lengths and classes of rows, which a table works out once for all properties
    assert len(population) == size
    found = probe_cosines.probe_statistics(table, probes, levels=(0.5,))
    for i, probe in enumerate(probes[:TIMED].tolist()):
        ours = (found.share[i], found.minimum[i], found.maximum[i], found.mean[i], found.quantiles[i, 0])
        np.testing.assert_allclose(ours, one_probe(matrix, probe), atol=1e-4)
    what = f"share, min, max, mean, median of {PROBES} probes, {size} x {width} float32"
    query = table.units(probes)

    def ours_() -> object:
        return probe_cosines.probe_statistics(table, probes, levels=(0.5,))

    yield run.row(
        ("probes", what, "the notebook's loop"),
        ours_,
        lambda: [one_probe(matrix, probe) for probe in probes[:TIMED].tolist()],
        target=100,
        scale=PROBES / TIMED,
        note=f"{TIMED} of the loop's {PROBES} probes timed, and scaled",
    )
    yield run.row(
        ("probes", what, f"one product of {PROBES} x {width} by {width} x {size}"),
        ours_,
        lambda: query @ matrix.T,
        target=0.5,
        note="lengths of rows, once a table, left out: next row",
    )
    yield run.row(
        ("probes", f"lengths of {size} rows, in float64", "the same product"),
        lambda: type(table).norms.func(table),  # type: ignore[attr-defined] # anew each time
        lambda: query @ matrix.T,
    )
