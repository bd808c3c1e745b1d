"""Offset consistency: do the vectors from one word of a pair to the other point the same way across pairs?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embcheck.estimate import Details, Estimate, measure
from embcheck.lexicons import relation as relation_of
from embcheck.measures.cells import enough_pairs
from embcheck.measures.resolve import check_pairs, lowest_pairs, matched_pools
from embcheck.settings import current
from embcheck.stats import permutations
from embcheck.stats.intervals import square_jackknife_interval
from embcheck.stats.permutations import area_over

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.lexicons import Relation
    from embcheck.stats import Floats, Ints
    from embcheck.table import Coverage, EmbeddingTable

__all__ = ["offset_consistency"]

SHUFFLES = 50


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Pairs whose words both resolved: rows (n, 2), and their vectors, (n, d) each."""

    words: list[tuple[str, str]]
    rows: Ints
    first: Tensor
    second: Tensor
    coverage: Coverage


@measure
def offset_consistency(table: EmbeddingTable, relation: Relation, *, rng: np.random.Generator) -> Estimate:
    r"""Mean cosine between the offsets of two pairs, over all pairs of pairs.

    With unit offsets :math:`u_i = (b_i - a_i) / |b_i - a_i|` of n pairs, the mean off-diagonal cosine is
    :math:`(|\sum_i u_i|^2 - n) / (n (n - 1))`. Unit: word pairs, each word one token; interval: delete-one-pair
    jackknife-t, whose upper end is Wilson's of the root where that reaches further, since a sample of few pairs that
    point the same way has too small a spread. Nulls: ``shuffled_pairs`` permutes the second words;
    ``frequency_matched_pairs`` draws each second word from a pool of 20 with ids near its own, itself among them. The
    effect is pairing consistency: the area under the ROC curve that tells cosines of true offsets from cosines of
    shuffled ones (Fournier, Dupoux and Dunbar, "Analogies minus analogy test", 2020).

    Parameters
    ----------
    relation
        Word-disjoint pairs (a, b).

    Raises
    ------
    NotMeasurable
        Fewer than 3 pairs resolve to single tokens. From 3 to 19 the estimate is given, and decides nothing.
    """
    pairs = _resolve(table, relation, "single")
    check_pairs(len(pairs.words), relation)
    units = _unit(pairs.second - pairs.first)
    value, replicates = _consistency(units)
    cosines, names = (units @ units.T).cpu().numpy(), [">".join(pair) for pair in pairs.words]
    return Estimate.jackknife(
        value,
        replicates,
        unit="word pairs",
        over="pairs",
        labels=names,
        interval=square_jackknife_interval,
        name="offset consistency",
        effect={"name": "pairing consistency (AUC)", "value": _pairing_consistency(pairs, cosines, rng)},
        draws={
            "shuffled_pairs": _shuffled(pairs, rng),
            "frequency_matched_pairs": _frequency_matched(table, pairs, rng),
        },
        details=_details(table, relation, pairs, units, cosines),
        counterexamples=lowest_pairs(pairs.rows, names, _with_mean(units)[1]),
        reason=enough_pairs(len(pairs.words)),
    )


def _resolve(table: EmbeddingTable, relation: Relation, pooling: Any) -> _Pairs:
    words = table.embed(relation.words, pooling)
    ids, index = words.rows, {word: i for i, word in enumerate(words.words)}
    kept = [(a, b) for a, b in relation.pairs if a in index and b in index and ids[index[a]] != ids[index[b]]]
    first, second = (words.vectors[[index[pair[k]] for pair in kept]] for k in (0, 1))
    apart = (torch.linalg.vector_norm(second - first, dim=1) > 0).cpu().numpy()  # equal vectors have no offset
    kept = [pair for pair, far in zip(kept, apart, strict=True) if far]
    rows = np.array([[ids[index[a]][0], ids[index[b]][0]] for a, b in kept], dtype=np.int64).reshape(-1, 2)
    mask = torch.from_numpy(apart).to(first.device)
    return _Pairs(kept, rows, first[mask], second[mask], words.coverage)


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1, eps=1e-300 if vectors.dtype == torch.float64 else 1e-30)


def _consistency(units: Tensor) -> tuple[float, Floats]:
    """Mean off-diagonal cosine of n unit vectors, and its n delete-one replicates."""
    n = len(units)
    total = units.sum(0)
    left_out = ((total - units) ** 2).sum(1).cpu().double().numpy()
    replicates = (left_out - (n - 1)) / ((n - 1) * (n - 2)) if n > 2 else np.zeros(n)
    return (float((total**2).sum()) - n) / (n * (n - 1)), replicates


def _shuffled(pairs: _Pairs, rng: np.random.Generator) -> Floats:
    r"""Consistency under permuted second words, from Gram matrices alone.

    For a permutation p, offset i has squared length :math:`|b_{p(i)}|^2 - 2 a_i b_{p(i)} + |a_i|^2`; with weights w its
    inverse, the squared sum of unit offsets is :math:`v'BBv - 2 v'BAw + w'AAw`, where v is w carried through p.
    """
    a, b = pairs.first.cpu().double().numpy(), pairs.second.cpu().double().numpy()
    scale = max(float(np.abs(a).max()), float(np.abs(b).max()), 1e-300)
    a, b = a / scale, b / scale
    aa, bb, ba = a @ a.T, b @ b.T, b @ a.T
    squared = np.maximum(np.diag(bb)[:, None] - 2 * ba + np.diag(aa)[None, :], 1e-30)  # [second, first]
    n = len(a)

    def consistency(orders: Ints) -> Floats:
        w = 1 / np.sqrt(squared[orders, np.arange(n)])
        v = np.empty_like(w)
        np.put_along_axis(v, orders, w, axis=1)
        length = ((v @ bb) * v).sum(1) - 2 * ((v @ ba) * w).sum(1) + ((w @ aa) * w).sum(1)
        return np.asarray((length - n) / (n * (n - 1)))

    return permutations.draw(consistency, lambda count: permutations.orders(n, count, rng))


def _frequency_matched(table: EmbeddingTable, pairs: _Pairs, rng: np.random.Generator) -> Floats:
    """Consistency with each second word drawn from its pool; pools are disjoint, so a draw repeats no word."""
    pools = matched_pools(table, pairs.rows, pairs.words)
    n, m = pools.shape
    others = table.gather(pools.reshape(-1)).to(table.accumulator).view(n, m, -1)
    units = _unit(others - pairs.first[:, None]).float().view(n * m, -1)

    def consistency(picks: Ints) -> Floats:
        sums = torch.nn.functional.embedding_bag(torch.from_numpy(picks).to(units.device), units, mode="sum")
        squared = (sums.to(table.accumulator) ** 2).sum(1).cpu().double().numpy()
        return np.asarray((squared - n) / (n * (n - 1)))

    return permutations.draw(consistency, lambda count: rng.integers(0, m, size=(count, n)) + np.arange(n) * m)


def _pairing_consistency(pairs: _Pairs, cosines: Floats, rng: np.random.Generator) -> float:
    """Mean over shuffles of the AUC that tells cosines of true offsets from cosines of shuffled ones."""
    upper = np.triu_indices(len(cosines), 1)
    true = cosines[upper]
    areas = []
    for _ in range(current().drawn(SHUFFLES)):
        order = torch.from_numpy(rng.permutation(len(cosines))).to(pairs.second.device)
        units = _unit(pairs.second[order] - pairs.first)
        shuffled = (units @ units.T).cpu().numpy()[upper]
        areas.append(area_over(true, shuffled))
    return float(np.mean(areas))


def _with_mean(units: Tensor) -> tuple[Floats, Floats]:
    """Cosine of each unit offset with the mean direction, itself included and left out."""
    total = units.sum(0)
    included = units @ _unit(total[None])[0]
    left_out = (units * _unit(total - units)).sum(1)
    return included.cpu().double().numpy(), left_out.cpu().double().numpy()


def _details(table: EmbeddingTable, relation: Relation, pairs: _Pairs, units: Tensor, cosines: Floats) -> Details:
    included, left_out = _with_mean(units)
    names = [f"{a}>{b}" for a, b in pairs.words]
    index = {pair: i for i, pair in enumerate(pairs.words)}
    by_stratum = {}
    for name, members in relation.strata.items():
        inside = [index[pair] for pair in members if pair in index]
        if len(inside) > 1:
            by_stratum[name] = {"pairs": len(inside), "consistency": _consistency(units[inside])[0]}
    pooled = _resolve(table, relation, "mean")
    enough = len(pooled.words) > 1
    return {
        "coverage": pairs.coverage.record(),
        "pairs": names,
        "cosine_with_mean": dict(zip(names, included.round(4).tolist(), strict=True)),
        "cosine_with_mean_left_out": dict(zip(names, left_out.round(4).tolist(), strict=True)),
        "as_source": _as_source(table, relation),
        "matrix": cosines.round(3).tolist(),
        "strata": by_stratum,
        "pooled": {
            "pairs": len(pooled.words),
            "consistency": _consistency(_unit(pooled.second - pooled.first))[0] if enough else None,
        },
    }


def _as_source(table: EmbeddingTable, relation: Relation) -> dict[str, float]:
    """The source's own pairs as it computes them: multi-token words pooled, the mean over these pairs only."""
    own = relation.strata.get("source", ())
    if len(own) < 2:
        return {}
    pairs = _resolve(table, relation_of(relation.name, own), "mean")
    if len(pairs.words) < 2:
        return {}
    included, _ = _with_mean(_unit(pairs.second - pairs.first))
    return {f"{a}>{b}": round(float(c), 4) for (a, b), c in zip(pairs.words, included, strict=True)}
