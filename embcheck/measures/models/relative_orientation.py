"""Relative orientation: do two tables place the same words at the same angles to each other?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from embcheck.errors import NotMeasurable
from embcheck.estimate import Estimate, measure
from embcheck.measures.kernels import blocks
from embcheck.measures.models.alignment import align
from embcheck.measures.resolve import ENOUGH, unit
from embcheck.settings import current
from embcheck.stats import permutations
from embcheck.stats.intervals import jackknife_interval

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.estimate import Details
    from embcheck.measures.models.alignment import Alignment
    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["relative_orientation"]

TOKENS, DRAWS = 1_000, 199
_NAMED = 10


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Cosines of the pairs of n words in either table, (n, n), less their means; the diagonals are zero."""

    first: Floats
    second: Floats

    @property
    def correlation(self) -> float:
        """Pearson's, over all pairs; NaN where the cosines of one table are all equal."""
        return float((self.first * self.second).sum()) / self._scale if self._scale > 0 else math.nan

    @property
    def _scale(self) -> float:
        return math.sqrt(float((self.first**2).sum())) * math.sqrt(float((self.second**2).sum()))

    def without_each(self) -> Floats:
        """(n,) the correlation over the pairs left without each word, 0 where they do not vary.

        The sums over all pairs are known; what a word's pairs add to them is the sum of its row, twice.
        """
        n = len(self.first)
        left = (n - 1) * (n - 2)

        def kept(cells: Floats) -> Floats:
            return np.asarray(cells.sum() - 2 * cells.sum(1))

        x, y = kept(self.first), kept(self.second)
        xy, xx, yy = (kept(a * b) for a, b in ((self.first, self.second), (self.first,) * 2, (self.second,) * 2))
        spread = np.sqrt(np.clip(xx - x**2 / left, 0, None) * np.clip(yy - y**2 / left, 0, None))
        return np.divide(xy - x * y / left, spread, out=np.zeros(n), where=spread > 0)

    def pair_variance(self) -> float:
        """What the value varies by beyond the words themselves, pair by pair: what a jackknife over words counts twice.

        The correlation is, but for smaller terms, the mean over pairs of its influence function; of each pair that is a
        part of either word, and a rest (Hoeffding 1948).
        """
        n = len(self.first)
        x, y = (cells / np.sqrt((cells**2).sum() / (n * (n - 1))) for cells in (self.first, self.second))
        influence = x * y - self.correlation * (x**2 + y**2) / 2
        own = influence.sum(1) / (n - 2)
        rest = influence - own[:, None] - own
        np.fill_diagonal(rest, 0)
        return float((rest**2).sum()) / (n * (n - 3)) / (n * (n - 1) / 2)

    def shuffled(self, rng: np.random.Generator) -> Floats:
        """The correlation where the second table's words are permuted, which changes neither mean nor spread."""
        # float32 halves the traffic that the draws consist of; its rounding is far below what they differ by
        first, second = self.first.astype(np.float32).ravel(), self.second.astype(np.float32)
        scale = self._scale

        def correlations(orders: Ints) -> Floats:
            moved = (second.take(order, 0).take(order, 1).ravel() for order in orders)
            return np.array([float(first @ cells) for cells in moved]) / scale

        size = len(second)
        return permutations.draw(correlations, lambda count: permutations.orders(size, count, rng), most=DRAWS)

    def of_each(self) -> Floats:
        """(n,) for each word, the correlation of its own cosines in either table; 0 where they do not vary."""
        n = len(self.first)
        rows = [cells - cells.sum(1, keepdims=True) / (n - 1) for cells in (self.first, self.second)]
        for cells in rows:
            np.fill_diagonal(cells, 0)
        return np.asarray((unit(rows[0]) * unit(rows[1])).sum(1))


@measure
def relative_orientation(tables: tuple[EmbeddingTable, ...], *, rng: np.random.Generator) -> Estimate:
    r"""Correlation between the cosines of the pairs of shared words in one table and in the other.

    For n of the N words that are one token of either population (those that begin a word, with a leading space or
    without: ``embcheck.measures.models.alignment``), with :math:`A_{ij}` and :math:`B_{ij}` the cosines of words i and
    j in either table, of rows less the mean of the N words' rows, it is Pearson's correlation of A and B over the n(n -
    1)/2 pairs: representational similarity analysis (Kriegeskorte, Mur and Bandettini 2008), of what relative
    representations with the words as anchors hold (Moschella et al. 2023). 1 for a table and its rotation; widths,
    dtypes and devices may differ. Of rows as stored the direction that all of them share, and with it frequency,
    decides (SmolLM2 and Qwen 0.63, SmolLM2 and GloVe -0.19); that value is a detail.

    Unit: shared words, the first 1,000 in hash order, or fewer as ``--probes`` says; all of them is exact. Interval:
    delete-one-word jackknife-t, since the pairs of a word are not independent, with the finite-population correction
    and without what it counts twice, the variance of pairs beyond their words (Efron and Stein 1981), half at most.
    Null: ``shuffled_words``, 199 times, permutes the words of the sample: the Mantel test (Mantel 1967). Details: how
    many words are shared, and those whose own cosines agree best and, as counterexamples, least.

    Raises
    ------
    NotMeasurable
        Fewer than 20 words are shared, or all their cosines in one table are equal.
    """
    shared = align(tables, words=True)
    size = len(shared)
    if size < ENOUGH:
        raise NotMeasurable(f"{size} shared words are too few to compare their cosines; at least {ENOUGH} are needed")
    count = min(size, TOKENS, current().sampled(TOKENS))
    chosen = np.searchsorted(shared.first, tables[0].probes(count, among=shared.first))
    sides = [(table, rows[chosen], rows) for table, rows in zip(tables, (shared.first, shared.second), strict=True)]
    pairs = _Pairs(*(_cosines(table, rows, blocks.mean_vector(table, whole)) for table, rows, whole in sides))
    stored = _Pairs(*(_cosines(table, rows) for table, rows, _ in sides))
    if math.isnan(pairs.correlation):
        raise NotMeasurable(f"the cosines of {count} shared words are all equal in one of the tables")
    value, draws, own = pairs.correlation, pairs.shuffled(rng), pairs.of_each()
    order = np.argsort(own, kind="stable")
    lowest, highest = (
        _listed(tables[0], shared, chosen[some], own[some]) for some in (order[:_NAMED], order[::-1][:_NAMED])
    )
    about: dict[str, Any] = {
        "unit": "shared words",
        "name": "correlation of pairwise cosines about the mean",
        "effect": {"name": "correlation above shuffled words", "value": value - float(draws.mean())},
        "draws": {"shuffled_words": draws},
        "details": {"words": count, **shared.record, "as_stored": stored.correlation, "highest": highest},
        "counterexamples": lowest,
    }
    if count == size:
        return Estimate.exact(value, n=size, **about)
    without = pairs.without_each()
    variance = (count - 1) ** 2 / count * float(np.var(without))
    kept = max(0.5, 1 - pairs.pair_variance() / variance) if variance > 0 else 1.0
    return Estimate.jackknife(
        value,
        value + math.sqrt(kept * (1 - count / size)) * (without - value),  # of a variance, put on the deviations
        over="words, finite-population correction",
        interval=partial(jackknife_interval, bounds=(-1.0, 1.0)),
        **about,
    )


def _cosines(table: EmbeddingTable, rows: Ints, about: Tensor | float = 0.0) -> Floats:
    """(n, n) cosines of some rows about a point, less the cosines' mean; 0 on the diagonal, and where all are equal."""
    units = unit((table.gather(rows) - about).cpu().double().numpy())
    cells, off = units @ units.T, ~np.eye(len(rows), dtype=np.bool_)
    if np.ptp(cells[off]) <= np.finfo(np.float32).eps:
        return np.zeros(cells.shape)
    return np.where(off, cells - cells[off].mean(), 0.0)


def _listed(table: EmbeddingTable, shared: Alignment, chosen: Ints, values: Floats) -> list[Details]:
    """Shared words with the correlation of their own cosines."""
    return [
        {
            "id": int(shared.first[i]),
            "other_id": int(shared.second[i]),
            "token": table.token(int(shared.first[i])),
            "value": float(value),
        }
        for i, value in zip(chosen, values, strict=True)
    ]
