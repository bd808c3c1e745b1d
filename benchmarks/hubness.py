"""How many lists of 10 neighbors each row stands in, over a whole matrix: beside faiss's flat index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.registry import Missing, Row, Run, alternative
from benchmarks.tables import noise
from embcheck.measures.kernels.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

K = 10


def rows(run: Run) -> Iterator[Row]:
    """One row."""
    size, width = run.size((30_522, 384), (1_000, 24))
    table = noise(size, width)
    unit = table.units(table.population).numpy()
    about = ("hubness", f"N_{K} of all rows, {size} x {width}", "faiss IndexFlatIP")

    def ours() -> np.ndarray:
        return np.bincount(nearest(table, table.population, K).ravel(), minlength=size)

    try:
        faiss = alternative("faiss", "faiss-cpu")
    except Missing as why:
        yield Row(*about, note=str(why))
        return
    index = faiss.IndexFlatIP(width)
    index.add(unit)

    def theirs() -> np.ndarray:
        return np.bincount(index.search(unit, K + 1)[1][:, 1:].ravel(), minlength=size)

    assert np.abs(ours() - theirs()).sum() <= 1e-3 * K * size
    yield run.row(about, ours, theirs, target=1, note="scaling rows to length 1 and filling the index left out")
