"""Related pairs: is a word nearer to its partner than words of different pairs are to each other?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from embcheck.errors import NotMeasurable
from embcheck.estimate import Estimate, part
from embcheck.measures.pairs import comparisons
from embcheck.measures.resolve import Words, resolve, unit
from embcheck.settings import current
from embcheck.stats.intervals import logit_jackknife_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from embcheck.lexicons import Relation
    from embcheck.table import EmbeddingTable

__all__ = [
    "against",
    "area",
    "area_estimate",
    "areas_left_out",
    "related_pair_auc",
    "resolved_pairs",
    "shuffled",
    "shuffled_traces",
    "too_few",
    "without_each_pair",
]

PERMUTATIONS = 9_999
MIN_PAIRS, ENOUGH_PAIRS = 3, 20
_CHUNK = 1_000


def related_pair_auc(table: EmbeddingTable, relation: Relation, *, rng: np.random.Generator) -> Estimate:
    r"""Area under the ROC curve that tells related pairs from unrelated ones by their cosine.

    With n word-disjoint pairs :math:`(a_i, b_i)` and cosines :math:`c_{ij} = \cos(a_i, b_j)`, related are the n
    cells :math:`c_{ii}` and unrelated the n(n - 1) cross pairs. The area is Mann and Whitney's
    :math:`U / (n \cdot n (n - 1))`, the probability that a related pair has the larger cosine, ties counting one half.
    Unit: word pairs, each word one token; interval: delete-one-pair jackknife-t, since cells that share a word are not
    independent, for the logit, since areas are often near 1. Null: ``shuffled_pairs`` permutes the partners, fixed
    points allowed. The effect is the same area for dot products, which, unlike cosines, depend on the length of each
    row. Eleven of the pairs in the details are those of the notebook "Word Embeddings: From Tokens to Geometry"
    (2026); antonyms, pieces of a word, sums of words and synonyms of size are asked about in other source documents.

    Parameters
    ----------
    relation
        Word-disjoint pairs (a, b) of related words.
    rng
        Draws the null and the random pairs of the details.

    Raises
    ------
    NotMeasurable
        Fewer than 3 pairs resolve to single tokens. From 3 to 19 the estimate is given, and decides nothing.
    """
    words, pairs = resolved_pairs(table, relation)
    first, second = words.of_pairs(pairs)
    cosines = unit(first) @ unit(second).T
    found = area_estimate(cosines, rng, ["-".join(pair) for pair in pairs])
    details = {
        "coverage": words.coverage.record(),
        "mann_whitney": _mann_whitney(cosines, found.value, found.draws["shuffled_pairs"]),
    }
    if current().details:
        details |= comparisons.of_pairs(relation, pairs, first, second)
        details |= comparisons.beside(table, rng)
    return replace(
        found,
        name="AUC of related against unrelated cosines",
        effect={"name": "AUC of dot products", "value": area(first @ second.T)},
        details=details,
        counterexamples=against(words, pairs, cosines),
    )


def resolved_pairs(table: EmbeddingTable, relation: Relation) -> tuple[Words, list[tuple[str, str]]]:
    """The words of a relation that are single tokens, and the pairs of two such words.

    Raises
    ------
    NotMeasurable
        There are fewer than 3 pairs.
    """
    words = resolve(table, relation.words)
    pairs = [pair for pair in relation.pairs if set(pair) <= set(words.words)]
    if len(pairs) < MIN_PAIRS:
        raise NotMeasurable(
            f"{len(pairs)} of {len(relation.pairs)} {relation.name} pairs are two single tokens here; "
            f"at least {MIN_PAIRS} are needed"
        )
    return words, pairs


def too_few(pairs: int) -> str | None:
    """Why so many pairs decide nothing, ``None`` where they may."""
    return (
        f"only {pairs} pairs are single tokens; {ENOUGH_PAIRS} are needed to decide" if pairs < ENOUGH_PAIRS else None
    )


def area_estimate(cells: NDArray[np.float64], rng: np.random.Generator, labels: Sequence[str] = ()) -> Estimate:
    """The area of (n, n) cells, related ones on the diagonal: interval over pairs, and draws of ``shuffled_pairs``."""
    n, value, level = len(cells), area(cells), current().confidence_level
    left_out = areas_left_out(cells)
    low, high, pseudo, method = logit_jackknife_interval(value, left_out, level, 0.5 / (n * n * (n - 1)))
    return Estimate(
        value,
        low,
        high,
        level,
        f"{method} over word-disjoint pairs",
        n,
        "word pairs",
        draws={"shuffled_pairs": shuffled(cells, rng)},
        units=pseudo,
        parts=(part(labels, pseudo, pseudo=True),) if labels else (),
        reason=too_few(n),
    )


def without_each_pair(
    cells: NDArray[np.float64], statistic: Callable[[NDArray[np.float64]], float]
) -> NDArray[np.float64]:
    """(n,) values of a statistic of (n, n) cells when a row is left out with its column."""
    return np.array([statistic(np.delete(np.delete(cells, i, 0), i, 1)) for i in range(len(cells))])


def area(cells: NDArray[np.float64]) -> float:
    """Probability that a cell on the diagonal exceeds one off it, ties counting one half."""
    n = len(cells)
    if n < 2:
        return 0.5
    ranks = stats.rankdata(cells).reshape(n, n)
    return float(_area_of(np.trace(ranks), n))


def areas_left_out(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """The area without each row and column in turn.

    Of the comparisons of the diagonal's cells with those off it, those of cell i, and those with cells of row i or
    column i, fall away.
    """
    n = len(cells)
    own, off = np.diag(cells), cells[~np.eye(n, dtype=np.bool_)]

    def exceeds(cell: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
        ordered = np.sort(others)
        below: NDArray[np.float64] = (np.searchsorted(ordered, cell) + np.searchsorted(ordered, cell, "right")) / 2
        return below

    crossing = n - exceeds(cells, own)  # how many of the diagonal's cells exceed each cell
    np.fill_diagonal(crossing, 0)
    won = exceeds(own, off)
    beside = [exceeds(own[i], np.concatenate([np.delete(cells[i], i), np.delete(cells[:, i], i)])) for i in range(n)]
    kept = won.sum() - won - crossing.sum(0) - crossing.sum(1) + np.array(beside)
    found: NDArray[np.float64] = kept / ((n - 1) ** 2 * (n - 2)) if n > 2 else np.full(n, 0.5)
    return found


def _area_of(rank_sums: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    return (rank_sums - n * (n + 1) / 2) / (n * n * (n - 1))


def shuffled(cells: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """The area under permuted partners: the ranks of all cells stay, other cells count as related."""
    n = len(cells)
    return _area_of(shuffled_traces(stats.rankdata(cells).reshape(n, n), rng), n)


def shuffled_traces(cells: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Sums of the n cells that count as related under permuted partners."""
    n = len(cells)
    permutations = current().drawn(PERMUTATIONS)
    sums = np.empty(permutations)
    for start in range(0, permutations, _CHUNK):
        count = min(_CHUNK, permutations - start)
        order = rng.permuted(np.broadcast_to(np.arange(n), (count, n)), axis=1)
        sums[start : start + count] = cells[np.arange(n), order].sum(1)
    return sums


def _mann_whitney(cosines: NDArray[np.float64], value: float, draws: NDArray[np.float64]) -> dict[str, Any]:
    """U with the p-value of the permutation over words: cells share words, so the usual tables don't apply."""
    n = len(cosines)
    return {
        "u": round(2 * value * n * n * (n - 1)) / 2,
        "related": n,
        "unrelated": n * (n - 1),
        "p_value": (int((draws >= value).sum()) + 1) / (len(draws) + 1),
    }


def against(words: Words, pairs: list[tuple[str, str]], cosines: NDArray[np.float64]) -> list[dict[str, Any]]:
    """The pairs that the fewest cross pairs lie below: value, and percentile among the cross pairs."""
    n = len(pairs)
    cross = np.sort(cosines[~np.eye(n, dtype=np.bool_)])
    below = np.searchsorted(cross, np.diag(cosines)) / len(cross)
    return [
        {
            "ids": [int(words.rows[words.place[word]]) for word in pairs[i]],
            "token": "-".join(pairs[i]),
            "value": float(cosines[i, i]),
            "percentile": 100 * float(below[i]),
        }
        for i in np.argsort(below, kind="stable")[:10]
    ]
