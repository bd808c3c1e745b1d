"""How two checkpoints differ row by row, token with token: the drift itself, whatever properties say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embcheck.baseline.pairing import pair_rows
from embcheck.errors import NotMeasurable

if TYPE_CHECKING:
    from embcheck.checks.record import Json
    from embcheck.table import EmbeddingTable

MOST = 20
FARTHEST = 5
NEIGHBORS = 10
PROBES = 500


def drift(old: EmbeddingTable, new: EmbeddingTable, *, max_moved: float | None = None) -> Json:
    r"""What became of each token, and how far the rows of those that both populations have moved.

    Bit-identical rows, cosines, distances (in lengths of the old row) and lengths row by row, neighbours, and what a
    rotation leaves over, or the reason why there are none. ``procrustes_residual`` is
    :math:`\min_Q |AQ - B|_F / |B|_F` over orthogonal Q (Schoenemann 1966); ``neighbor_jaccard`` the mean overlap of the
    ten nearest rows of 500 probes in both; ``beyond`` how many rows moved farther than ``max_moved``, if that is given.
    """
    pairing = pair_rows(old, new)
    tokens: Json = {"tokens": pairing.record(old, new)}
    try:
        in_both = old.in_population[pairing.first] & new.in_population[pairing.second]
    except NotMeasurable as why:
        return tokens | {"reason": str(why)}
    rows = pairing.first[in_both]
    if len(rows) < 2:
        return tokens | {"reason": f"the two populations share {len(rows)} tokens; at least 2 are needed"}
    a, b = (t.gather(r).to(t.accumulator).cpu() for t, r in ((old, rows), (new, pairing.second[in_both])))
    by_row = _by_row(old, rows, a, b, max_moved) if a.shape[1] == b.shape[1] else {}
    near = {"neighbor_jaccard": _jaccard(old, rows, a, b), "neighbors": min(NEIGHBORS, len(rows) - 1)}
    return tokens | {"rows": len(rows)} | by_row | near


def _by_row(old: EmbeddingTable, rows: Any, a: torch.Tensor, b: torch.Tensor, bound: float | None) -> Json:
    lengths = torch.linalg.vector_norm(a, dim=1)
    cosines = torch.nn.functional.cosine_similarity(a, b, dim=1)
    distances = torch.linalg.vector_norm(b - a, dim=1) / lengths
    ratios = torch.linalg.vector_norm(b, dim=1) / lengths
    shift = torch.linalg.vector_norm((b - a).mean(0)) / lengths.mean()
    is_moved = ~(a == b).all(1)

    def named(values: torch.Tensor, *, largest: bool, most: int) -> list[Json]:
        """The rows that moved and whose value is the most extreme, with it."""
        order = torch.argsort(values, descending=largest, stable=True)
        return [
            {"id": int(rows[i]), "token": old.token(int(rows[i])), "value": float(values[i])}
            for i in order[is_moved[order]][:most].tolist()
        ]

    return {
        "beyond": None if bound is None else int((distances > bound).sum()),
        "identical_rows": int((~is_moved).sum()),
        "cosine": _quantiles(cosines),
        "distance": _quantiles(distances),
        "norm_ratio": _quantiles(ratios),
        "mean_shift": float(shift),
        "procrustes_residual": _procrustes(a, b),
        "moved": named(cosines, largest=False, most=MOST),
        "farthest": named(distances, largest=True, most=FARTHEST),
    }


def _quantiles(values: torch.Tensor) -> dict[str, float]:
    levels = {"min": 0.0, "1%": 0.01, "median": 0.5, "99%": 0.99, "max": 1.0}
    return {name: float(np.quantile(values.numpy(), level)) for name, level in levels.items()}


def _procrustes(a: torch.Tensor, b: torch.Tensor) -> float:
    """|AQ - B|^2 = |A|^2 + |B|^2 - 2 * (sum of the singular values of A'B)."""
    total = float((a**2).sum() + (b**2).sum() - 2 * torch.linalg.svdvals(a.T @ b).sum())
    return float(np.sqrt(max(0.0, total) / float((b**2).sum())))


def _jaccard(old: EmbeddingTable, rows: Any, a: torch.Tensor, b: torch.Tensor) -> float:
    probes = torch.from_numpy(np.searchsorted(rows, old.probes(PROBES, among=rows)))
    k = min(NEIGHBORS, len(rows) - 1)
    near = [_nearest(vectors, probes, k) for vectors in (a, b)]
    overlaps = [len(set(x) & set(y)) for x, y in zip(*near, strict=True)]
    return float(np.mean([shared / (2 * k - shared) for shared in overlaps]))


def _nearest(vectors: torch.Tensor, probes: torch.Tensor, k: int) -> list[list[int]]:
    unit = torch.nn.functional.normalize(vectors, dim=1)
    scores = unit[probes] @ unit.T
    scores[torch.arange(len(probes)), probes] = -torch.inf
    neighbors: list[list[int]] = torch.topk(scores, k, dim=1).indices.tolist()
    return neighbors
