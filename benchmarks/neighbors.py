"""Exact nearest neighbors of many queries, beside faiss's flat index and scikit-learn's brute force."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.registry import Missing, Row, Run, alternative
from benchmarks.tables import noise
from embcheck.measures.kernels.nearest import top_k

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

K = 10


def agreement(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Share of places at which two lists of neighbors have the same row."""
    return float((ours == theirs).mean())


def rows(run: Run) -> Iterator[Row]:
    """One row an alternative."""
    size, width = run.size((400_000, 50), (2_000, 50))
    count, fewer = run.size((5_000, 250), (100, 50))
    table = noise(size, width)
    queries = table.vectors[table.probes(count)]
    ids, _ = top_k(table, queries, K)
    what = f"{K} nearest of {count} queries in {size} x {width}"
    unit = table.units(table.population).numpy()
    asked = (queries / queries.norm(dim=1, keepdim=True)).numpy()
    try:
        faiss = alternative("faiss", "faiss-cpu")
        index = faiss.IndexFlatIP(width)
        index.add(unit)
        assert agreement(ids, index.search(asked, K)[1]) > 0.999
        about = ("neighbors", what, "faiss IndexFlatIP")
        note = "scaling rows to length 1 and filling the index left out"
        yield run.row(about, lambda: top_k(table, queries, K), lambda: index.search(asked, K), target=1, note=note)
    except Missing as why:
        yield Row("neighbors", what, "faiss IndexFlatIP", note=str(why))
    try:
        brute = alternative("sklearn.neighbors", "scikit-learn").NearestNeighbors(metric="cosine", algorithm="brute")
        brute.fit(table.vectors.numpy())
        few = queries[:fewer]
        assert agreement(ids[:fewer], brute.kneighbors(few.numpy(), K, return_distance=False)) > 0.999
        note = f"{fewer} queries on both sides"
        what = f"{K} nearest of {fewer} queries in {size} x {width}"
        about = ("neighbors", what, "scikit-learn NearestNeighbors, brute force")
        yield run.row(about, lambda: top_k(table, few, K), lambda: brute.kneighbors(few.numpy(), K), note=note)
    except Missing as why:
        yield Row("neighbors", what, "scikit-learn NearestNeighbors", note=str(why))
