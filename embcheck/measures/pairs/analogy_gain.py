"""All analogies that a relation's pairs make, ranked in one stream over the matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embcheck.estimate import Estimate, measure
from embcheck.measures.cells import enough_pairs
from embcheck.measures.kernels import blocks, signs
from embcheck.measures.resolve import check_pairs, forms_of, lowest_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.lexicons import Relation
    from embcheck.measures.resolve import Forms
    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["METHODS", "analogy_gain", "ranks"]

MIN_LIMIT = 40  # pairs, however large the table
COST = 1.2e9  # analogies times rows: 200 pairs of a table of 30,000 rows, 150 of 50,000, a second or two
CEILING = 0.9
METHODS = {
    "3cosadd": (1.0, -1.0, 1.0),
    "nearest_to_a": (1.0, 0.0, 0.0),
    "nearest_to_c": (0.0, 0.0, 1.0),
    "a_plus_c": (1.0, 0.0, 1.0),
}
"""Weights of a_j, a_i and b_i in the query of each method."""
_CELLS = 2**18  # cosines of all words with one block of rows: 1 MB, inside the cache of a CPU core


@dataclass(frozen=True, slots=True)
class _Words:
    """Rows and forms of the n pairs, first words then second words, and which forms a pair's analogy leaves out."""

    pairs: list[tuple[str, str]]
    rows: Ints
    forms: Ints


@measure
def analogy_gain(table: EmbeddingTable, relation: Relation) -> Estimate:
    r"""Mean reciprocal rank of 3CosAdd minus that of the better control, over the analogies of a relation's pairs.

    Every ordered pair of distinct pairs (i, j) asks :math:`a_j - a_i + b_i \to b_j` over the whole population, its
    three source words left out. Controls: nearest to :math:`a_j`, nearest to :math:`b_i`, :math:`a_j + b_i` (Linzen
    2016). Unit: word-disjoint pairs, all of them in tables of up to 50,000 rows; of n rows as many as
    :math:`\sqrt{1.2 \cdot 10^9 / n}`, at least 40, evenly from the list: no seed has a say. Interval: jackknife-t that
    leaves out a pair with every analogy it is in, the better control chosen anew each time.

    Parameters
    ----------
    relation
        Word-disjoint pairs (a, b).

    Raises
    ------
    NotMeasurable
        Fewer than 3 pairs resolve to single tokens.
    """
    forms = forms_of(table)
    words = _resolve(table, relation, forms)
    n = len(words.pairs)
    reciprocal = {name: 1 / rank for name, rank in ranks(table, words.rows, words.forms, forms).items()}
    means = {name: _mean(cells) for name, cells in reciprocal.items()}
    better = max((name for name in METHODS if name != "3cosadd"), key=lambda name: means[name])
    left_out = {name: _leave_one_out(cells) for name, cells in reciprocal.items()}
    controls = np.max([left_out[name] for name in METHODS if name != "3cosadd"], axis=0)
    labels = [">".join(pair) for pair in words.pairs]
    return Estimate.jackknife(
        means["3cosadd"] - means[better],
        left_out["3cosadd"] - controls,
        unit="word pairs",
        over="word-disjoint pairs",
        labels=labels,
        name="gain in mean reciprocal rank",
        effect={"name": f"3CosAdd against {better}", "value": means["3cosadd"], "control": means[better]},
        details={
            "coverage": table.embed(relation.words).coverage.record(),
            "analogies": n * (n - 1),
            "mean_reciprocal_rank": means,
            "accuracy": {name: _mean(cells == 1) for name, cells in reciprocal.items()},
            "better_control": better,
            **({"summary": _ceiling(better, means[better])} if means[better] > CEILING else {}),
            "pairs": labels,
        },
        counterexamples=lowest_pairs(
            words.rows.reshape(2, n).T, labels, _gains(reciprocal["3cosadd"] - reciprocal[better])
        ),
        reason=enough_pairs(n),
    )


def _ceiling(control: str, rank: float) -> str:
    """That there is hardly room for a gain: a result about the relation, not a measurement that failed."""
    return f"The control {control} already has a mean reciprocal rank of {rank:.2f}: at most {1 - rank:.2f} is to gain."


def _resolve(table: EmbeddingTable, relation: Relation, forms: Forms) -> _Words:
    """The pairs to use: both words single tokens, all forms distinct; as many as are affordable, evenly."""
    ids = table.rows(relation.words)
    position = {int(row): i for i, row in enumerate(table.population)}
    kept: dict[int, tuple[tuple[str, str], int, int]] = {}
    used: set[int] = set()
    for (a, b), first, second in zip(relation.pairs, ids[::2], ids[1::2], strict=True):
        if first is None or second is None:
            continue
        pair_forms = {int(forms.of_position[position[row]]) for row in (first, second)}
        if len(pair_forms) == 2 and not pair_forms & used:
            used |= pair_forms
            kept[first] = ((a, b), first, second)
    check_pairs(len(kept), relation)
    limit = max(MIN_LIMIT, math.isqrt(int(COST) // len(position)))
    known = list(kept.values())
    chosen = [known[i * len(known) // limit] for i in range(limit)] if len(known) > limit else known
    rows = np.array([c[1] for c in chosen] + [c[2] for c in chosen], dtype=np.int64)
    return _Words([c[0] for c in chosen], rows, forms.of_position[[position[int(row)] for row in rows]])


def ranks(table: EmbeddingTable, rows: Ints, word_forms: Ints, forms: Forms) -> dict[str, Ints]:
    """Rank of b_j for every analogy (i, j), by method: (n, n) with 1 on the diagonal, which is no analogy.

    Scores are sums of the words' own cosine rows, so the matrix is multiplied once by 2n words, not by n^2 queries.
    Rows that write one of the words are ranked apart from the stream, in one small product, so that no score is
    compared with itself across two products. Ties count against the target. ``rows`` and ``word_forms`` are (2n,): all
    first words, then all second words.
    """
    n = len(rows) // 2
    with blocks.full_precision():
        query = table.units(rows)
        distinct = np.unique(word_forms)
        apart = np.sort(forms.positions(distinct))
        small = query @ table.units(table.population[apart]).T
        index = torch.from_numpy(np.searchsorted(distinct, forms.of_position[apart])).to(query.device)
        form = torch.from_numpy(np.searchsorted(distinct, word_forms)).to(query.device)
        targets, counts = {}, {}
        for name, weights in METHODS.items():
            scores = _combine(small, weights).expand(n, n, len(apart))
            best = scores.new_full((*scores.shape[:-1], len(distinct)), -torch.inf)
            best.scatter_reduce_(-1, index.expand(scores.shape), scores, "amax")
            targets[name], counts[name] = _start(best, form, n)
        ranked = {name: 1 + ahead.cpu().numpy().astype(np.int64) for name, ahead in counts.items()}
        for block in _rest(table, query, forms, apart):
            for name, weights in METHODS.items():
                ranked[name] += _ahead(block, weights, targets[name])
    for cells in ranked.values():
        np.fill_diagonal(cells, 1)
    return ranked


def _combine(scores: Tensor, weights: tuple[float, float, float]) -> Tensor:
    """(2n, ...) cosines of words -> (n, n, ...) scores of the analogies (i, j); (1, n, ...) where i plays no part."""
    n = len(scores) // 2
    own, minus, plus = weights
    if minus == plus == 0:
        return own * scores[None, :n]
    return own * scores[None, :n] + (minus * scores[:n] + plus * scores[n:])[:, None]


def _ahead(block: Tensor, weights: tuple[float, float, float], targets: Any) -> Ints:
    """How many forms of a block score at least as high as the target of each analogy: (n, n), or (1, n) as above.

    One i at a time: n rows of scores stay in the cache from the sum to the count.
    """
    n = len(block) // 2
    own, minus, plus = weights
    base: Any = own * block[:n]
    added: Any = minus * block[:n] + plus * block[n:]
    if on_host := block.device.type == "cpu":  # in NumPy, which compares and counts several times faster there
        base, added, targets = base.numpy(), added.numpy(), targets.numpy()
    counts = []
    for i in range(1 if minus == plus == 0 else n):
        scores = base if minus == plus == 0 else base + added[i]
        scores = (scores.max(1) if on_host else scores.amax(1)) if block.shape[1] > 1 else scores[:, 0]
        ahead = signs.row_totals(scores >= targets[i, :, None])
        counts.append(ahead if on_host else ahead.cpu().numpy())
    return np.stack(counts)


def _start(best: Tensor, form: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Target scores (n, n), and how many of the words' own forms are ahead, sources and target left out."""
    first, second = form[:n], form[n:]
    i, j = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    i, j = i.to(best.device), j.to(best.device)
    target = best.gather(2, second.expand(n, n)[..., None])[..., 0]
    ahead = best >= target[..., None]
    for left_out in (first[j], first[i], second[i], second[j]):
        ahead.scatter_(2, left_out[..., None], value=False)
    return target, ahead.sum(2, dtype=torch.float32)


def _rest(table: EmbeddingTable, query: Tensor, forms: Forms, apart: Ints) -> Iterator[Tensor]:
    """(2n, variants, forms) cosines of the words with the other rows: blocks of forms with equally many variants."""
    keep = np.ones(len(table.population), dtype=np.bool_)
    keep[apart] = False
    positions = np.flatnonzero(keep)
    positions = positions[np.argsort(forms.of_position[positions], kind="stable")]
    _, first, sizes = np.unique(forms.of_position[positions], return_index=True, return_counts=True)
    cells = max(64, _CELLS // len(query))
    for variants in np.unique(sizes).tolist():
        starts = first[sizes == variants]
        step = max(1, cells // variants)
        for start in range(0, len(starts), step):
            chosen = positions[starts[start : start + step] + np.arange(variants)[:, None]]
            rows = table.population[chosen.reshape(-1)]
            yield (query @ table.units(rows).T).view(len(query), variants, -1)


def _mean(cells: NDArray[Any]) -> float:
    """Mean over analogies: all cells off the diagonal."""
    n = len(cells)
    return float((cells.sum() - np.trace(cells)) / (n * (n - 1)))


def _leave_one_out(cells: Floats) -> Floats:
    """Mean over analogies without each pair in turn: its row and its column are left out."""
    n = len(cells)
    off = cells - np.diag(np.diag(cells))
    return np.asarray((off.sum() - off.sum(0) - off.sum(1)) / ((n - 1) * (n - 2)))


def _gains(difference: Floats) -> Floats:
    """(n,) mean difference over the analogies of each pair."""
    off = difference - np.diag(np.diag(difference))
    return np.asarray((off.sum(0) + off.sum(1)) / (2 * (len(off) - 1)))
