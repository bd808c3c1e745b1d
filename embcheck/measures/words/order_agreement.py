"""Ordered words: are words that follow each other nearer than words far apart?"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from embcheck.errors import NotMeasurable
from embcheck.estimate import Details, Estimate, measure, part
from embcheck.measures.resolve import resolve
from embcheck.settings import current
from embcheck.stats import permutations
from embcheck.stats.permutations import p_value

if TYPE_CHECKING:
    from embcheck.lexicons import OrderedWords
    from embcheck.stats import Bools, Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["compared_orders", "order_agreement"]

EXACT_UP_TO = 8  # words: all 40,320 orders are looked at
MIN_WORDS = 6  # of fewer, even the best order and its reverse are more than 1% of all orders


@dataclass(frozen=True, slots=True, eq=False)
class _Mantel:
    """Cosines of n words, ranked over the n(n - 1)/2 pairs, and the orders that they are compared under."""

    cosines: Floats
    ranks: Ints
    """(n, n) twice the average rank of each cosine, so that sums of products are whole numbers."""
    orders: Ints

    def rho(self, closeness: Floats) -> tuple[float, Floats]:
        """Spearman's correlation of cosine and closeness, and its value under every order."""
        upper = np.triu_indices(len(self.ranks), 1)
        wanted = _twice_ranks(closeness)[upper]
        middle = len(wanted) + 1  # twice the mean rank
        own = self.ranks[upper] - middle
        wanted = wanted - middle
        scale = math.sqrt(float((own**2).sum()) * float((wanted**2).sum()))
        if scale == 0:
            return 0.0, np.zeros(len(self.orders))
        permuted = self.ranks[self.orders[:, upper[0]], self.orders[:, upper[1]]] - middle
        return float((own * wanted).sum()) / scale, (permuted @ wanted) / scale

    def difference(self, together: Bools, apart: Bools) -> tuple[float, float]:
        """Mean cosine of some pairs minus that of others, and its one-sided p-value."""
        upper = np.triu_indices(len(self.cosines), 1)
        weights = together[upper] / together[upper].sum() - apart[upper] / apart[upper].sum()
        value = float((self.cosines[upper] * weights).sum())
        draws = self.cosines[self.orders[:, upper[0]], self.orders[:, upper[1]]] @ weights
        return value, p_value(draws, value - 1e-12)


@measure
def order_agreement(table: EmbeddingTable, sequence: OrderedWords, *, rng: np.random.Generator) -> Estimate:
    r"""Spearman's correlation between the cosine of two words and how close they stand in their order.

    Over the n(n - 1)/2 pairs of the n words of a sequence, each one token, cosines :math:`\cos(w_i, w_j)` are ranked
    against the closeness :math:`-|i - j|`, and in a cyclic sequence of m words, whose last is followed by its first,
    against that round the circle, :math:`-\min(|i - j|, m - |i - j|)`. The words are the whole list, not a
    sample of one, so the value is exact; whether it says anything is the Mantel test's to tell: ``shuffled_order``
    permutes the words, all n! orders for up to 8 words, else 9,999 drawn with fixed points allowed (Mantel 1967).
    Closeness along a line, of a circle too, and of logarithms, neighbours against distant words, parity and magnitude
    are reported as details; the notebook "Word Embeddings: From Tokens to Geometry" (2026) asks for them.

    Parameters
    ----------
    sequence
        Words in their order. Those that are no single token are left out, and the others keep their places.

    Raises
    ------
    NotMeasurable
        Fewer than 6 words, of a whole circle 7, are single tokens, or all their cosines are equal.
    """
    words = resolve(table, sequence.words)
    n = len(words.words)
    least = MIN_WORDS + (sequence.cyclic and n == len(sequence.words))  # n turns of it and their reverses are alike
    if n < least:
        raise NotMeasurable(
            f"{n} of {len(sequence.words)} {sequence.name} are single tokens here; at least {least} are needed"
        )
    places = np.array([sequence.words.index(word) for word in words.words], dtype=np.int64)
    cosines = words.units @ words.units.T
    upper = np.triu_indices(n, 1)
    if np.ptp(cosines[upper]) == 0:
        raise NotMeasurable(f"all {len(upper[0])} cosines between {sequence.name} are equal")
    mantel = _Mantel(cosines, _twice_ranks(cosines), compared_orders(n, rng))
    gaps = np.abs(places[:, None] - places[None])
    if sequence.cyclic:
        gaps = np.minimum(gaps, len(sequence.words) - gaps)
    value, draws = mantel.rho(-gaps.astype(np.float64))
    labels = [f"{words.words[i]}-{words.words[j]}" for i, j in zip(*upper, strict=True)]
    scores = [stats.zscore(stats.rankdata(cells[upper])) for cells in (cosines, -gaps)]  # whose products' mean is rho
    return Estimate.exact(
        value,
        n=n,
        unit="words of the list",
        name=f"rank correlation of cosine and closeness{' round the circle' if sequence.cyclic else ''}",
        effect={"name": "neighbours minus distant words", "value": mantel.difference(*_near_and_far(gaps))[0]},
        draws={"shuffled_order": draws},
        parts=(part(labels, scores[0] * scores[1], population=len(labels)),),
        details={
            "coverage": words.coverage.record(),
            "words": list(words.words),
            "shape": "circle" if sequence.cyclic else "line",
            "mantel": {"orders": len(draws) + 1, "exact": n <= EXACT_UP_TO},
            **_other_closeness(mantel, sequence, places, gaps),
            "matrix": cosines.round(3).tolist(),
        },
        counterexamples=_farthest(words.words, words.rows, cosines, gaps),
    )


def _twice_ranks(cells: Floats) -> Ints:
    """(n, n) twice the average ranks of the cells above the diagonal, mirrored below it; 0 on it."""
    upper = np.triu_indices(len(cells), 1)
    ranks = np.zeros(cells.shape, dtype=np.int64)
    ranks[upper] = np.rint(2 * stats.rankdata(cells[upper])).astype(np.int64)
    return ranks + ranks.T


def compared_orders(n: int, rng: np.random.Generator) -> Ints:
    """Orders to compare with: all but the true one, or 9,999 uniform draws."""
    if n <= EXACT_UP_TO:
        return np.array(list(itertools.permutations(range(n)))[1:], dtype=np.int64)
    return permutations.orders(n, current().drawn(permutations.PERMUTATIONS), rng)


def _near_and_far(gaps: Ints) -> tuple[Bools, Bools]:
    """Pairs at the smallest distance, and pairs at half the largest or more."""
    off = ~np.eye(len(gaps), dtype=np.bool_)
    smallest = gaps[off].min()
    return (gaps == smallest) & off, (gaps > smallest) & (2 * gaps >= gaps.max())


def _other_closeness(mantel: _Mantel, sequence: OrderedWords, places: Ints, gaps: Ints) -> Details:
    """Other measures of closeness, and groupings: each with the p-value of the same orders."""
    steps, logs = places.astype(np.float64), np.log(places + 1.0)
    closeness = {name: -np.abs(along[:, None] - along[None]) for name, along in (("linear", steps), ("log", logs))}
    if sequence.cyclic:
        closeness["cyclic"] = -gaps.astype(np.float64)
    agreement = {}
    for name, close in closeness.items():
        rho, draws = mantel.rho(close)
        agreement[name] = {"rho": rho, "p_value": p_value(draws, rho)}
    numbers, half = places + sequence.first, len(sequence.words) / 2
    groups = {"parity": numbers % 2, "magnitude": (places >= half).astype(np.int64)}
    differences = {"neighbours_minus_distant": mantel.difference(*_near_and_far(gaps))}
    for name, group in groups.items():
        same = group[:, None] == group[None]
        np.fill_diagonal(same, val=False)
        other = group[:, None] != group[None]
        if same.any() and other.any():
            differences[name] = mantel.difference(same, other)
    return {
        "closeness": agreement,
        "differences": {name: {"difference": d, "p_value": p} for name, (d, p) in differences.items()},
    }


def _farthest(words: tuple[str, ...], rows: Ints, cosines: Floats, gaps: Ints) -> list[Details]:
    """The pairs whose rank by cosine, minus their rank by closeness, is farthest from zero."""
    upper = np.triu_indices(len(words), 1)
    gap = stats.rankdata(cosines[upper]) - stats.rankdata(-gaps[upper])
    return [
        {
            "ids": [int(rows[upper[0][k]]), int(rows[upper[1][k]])],
            "token": f"{words[upper[0][k]]}-{words[upper[1][k]]}",
            "value": float(cosines[upper][k]),
            "rank_gap": float(gap[k]),
        }
        for k in np.argsort(-np.abs(gap), kind="stable")[:10]
    ]
