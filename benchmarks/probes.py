"""Statistics of 50 probes against a whole matrix: beside the loop of a notebook, and beside one bare product."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.tables import noise
from embcheck.measures.kernels import probe_cosines

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


SHAPES = ((262_144, 640, torch.float32), (151_936, 1_024, torch.bfloat16), (201_088, 2_880, torch.bfloat16))


def rows(run: Run) -> Iterator[Row]:
    """The sizes of Gemma 3 270M, Qwen3-0.6B and gpt-oss; targets are for the first."""
    for shape in SHAPES:
        size, width = run.size(shape[:2], (3_000, 32))
        yield from _of_size(run, size, width, shape[2], targets=shape == SHAPES[0])


def _of_size(run: Run, size: int, width: int, dtype: torch.dtype, *, targets: bool) -> Iterator[Row]:
    """Two ratios, and what the lengths cost that a table works out once."""
    table = noise(size, width, dtype)
    matrix, probes = table.vectors, table.probes(PROBES)
    population = table.population  # lengths and classes of rows, which a table works out once for all properties
    assert len(population) == size

    def ours() -> probe_cosines.ProbeStatistics:
        return probe_cosines.probe_statistics(table, probes, median=True)

    found = ours()
    for i, probe in enumerate(probes[:TIMED].tolist()):
        figures = (found.share[i], found.minimum[i], found.maximum[i], found.mean[i], found.median[i])
        exact = dtype == torch.float32  # the loop rounds what it makes of bfloat16 to bfloat16
        np.testing.assert_allclose(figures, one_probe(matrix, probe), atol=1e-4 if exact else 2e-2)
    kind = str(dtype).removeprefix("torch.")
    what = f"share, min, max, mean, median of {PROBES} probes, {size} x {width} {kind}"
    query = table.units(probes).to(dtype)
    yield run.row(
        ("probes", what, "the notebook's loop"),
        ours,
        lambda: [one_probe(matrix, probe) for probe in probes[:TIMED].tolist()],
        target=100 if targets else None,
        scale=PROBES / TIMED,
        note=f"{TIMED} of the loop's {PROBES} probes timed, and scaled",
    )
    yield run.row(
        ("probes", what, f"one {kind} product of {PROBES} x {width} by {width} x {size}"),
        ours,
        lambda: query @ matrix.T,
        target=0.6 if targets else None,
        note="lengths of rows, once a table, left out: next row",
    )
    yield run.row(
        ("probes", f"lengths of {size} rows of {width} {kind}, in float64", "one pass over the same memory, a sum"),
        lambda: type(table).norms.func(table),  # type: ignore[attr-defined] # anew each time
        lambda: matrix.view(torch.float32).sum(),
        target=0.6,
    )
