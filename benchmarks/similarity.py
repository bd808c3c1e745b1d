"""Cosines of random pairs and of probes against all rows, beside scikit-learn's functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.registry import Missing, Row, Run, alternative
from benchmarks.tables import noise
from embcheck.measures.cosines import background_cosine
from embcheck.measures.kernels import probe_cosines

if TYPE_CHECKING:
    from collections.abc import Iterator


def rows(run: Run) -> Iterator[Row]:
    """Pairs, then probes."""
    size, width = run.size((262_144, 640), (2_000, 32))
    count, probes = run.size((10_000, 100), (500, 20))
    table = noise(size, width)
    matrix = table.vectors.numpy()
    pairs = table.probes(2 * count).reshape(-1, 2)
    asked = table.probes(probes)
    whats = (
        f"cosines of {count} random pairs, {size} x {width}",
        f"min, max, mean of {probes} probes, {size} x {width}",
    )
    try:
        pairwise = alternative("sklearn.metrics.pairwise", "scikit-learn")
    except Missing as why:
        yield from (Row("similarity", what, "scikit-learn", note=str(why)) for what in whats)
        return

    def paired() -> np.ndarray:
        return 1 - pairwise.paired_cosine_distances(matrix[pairs[:, 0]], matrix[pairs[:, 1]])

    def probed() -> tuple[np.ndarray, ...]:
        cosine = pairwise.cosine_similarity(matrix[asked], matrix)
        cosine[np.arange(probes), asked] = np.nan
        return np.nanmin(cosine, 1), np.nanmax(cosine, 1), np.nanmean(cosine, 1)

    cosines, _ = background_cosine._of_pairs(table, pairs)  # noqa: SLF001 - the measure's own step
    np.testing.assert_allclose(cosines, paired(), atol=1e-5)
    found = probe_cosines.probe_statistics(table, asked)
    np.testing.assert_allclose((found.minimum, found.maximum, found.mean), probed(), atol=1e-5)
    yield run.row(
        ("similarity", whats[0], "scikit-learn paired_cosine_distances"),
        lambda: background_cosine._of_pairs(table, pairs),  # noqa: SLF001
        paired,
        note="ours in float64, with distances",
    )
    yield run.row(
        ("similarity", whats[1], "scikit-learn cosine_similarity"),
        lambda: probe_cosines.probe_statistics(table, asked),
        probed,
        note="ours with exact counts of signs",
    )
