"""Cells of n pairs: every first word held against every second one, related ones on the diagonal."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from embcheck.estimate import Details, Estimate
from embcheck.measures.resolve import undecided, unit
from embcheck.stats import permutations
from embcheck.stats.intervals import share_jackknife_interval
from embcheck.stats.permutations import area_over, midranks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from embcheck.measures.resolve import Words
    from embcheck.stats import Floats

__all__ = [
    "area", "area_estimate", "areas_left_out", "centred", "compared", "enough_pairs", "off_diagonal", "shuffled",
    "shuffled_traces", "weakest", "without_each_pair",
]  # fmt: skip


PERCENTILE = 3  # yes-or-no answers: a uniform percentile, as noise has, varies by 1/12 where they do by 1/4


def off_diagonal(cells: Floats) -> Floats:
    """(n (n - 1),) cells of unrelated words, row by row."""
    return cells[~np.eye(len(cells), dtype=np.bool_)]


def enough_pairs(count: int) -> str | None:
    """Why so many pairs decide nothing; none where they may."""
    return undecided(count, "pairs are single tokens")


def area_estimate(cells: Floats, rng: np.random.Generator, labels: Sequence[str] = ()) -> Estimate:
    """The area of (n, n) cells, a share, with its interval over pairs, and draws of ``shuffled_pairs``."""
    n = len(cells)
    return Estimate.jackknife(
        area(cells),
        areas_left_out(cells),
        unit="word pairs",
        over="word-disjoint pairs",
        labels=labels,
        interval=partial(share_jackknife_interval, answers=PERCENTILE),
        draws={"shuffled_pairs": shuffled(cells, rng)},
        reason=enough_pairs(n),
    )


def without_each_pair(cells: Floats, statistic: Callable[[Floats], float]) -> Floats:
    """(n,) values of a statistic of (n, n) cells when a row is left out with its column."""
    return np.array([statistic(np.delete(np.delete(cells, i, 0), i, 1)) for i in range(len(cells))])


def area(cells: Floats) -> float:
    """Probability that a cell on the diagonal exceeds one off it, ties counting one half."""
    return area_over(np.diag(cells), off_diagonal(cells)) if len(cells) > 1 else 0.5


def areas_left_out(cells: Floats) -> Floats:
    """The area without each row and column in turn.

    Of the comparisons of the diagonal's cells with those off it, those of cell i, and those with cells of row i or
    column i, fall away.
    """
    n = len(cells)
    own, off = np.diag(cells), off_diagonal(cells)

    def exceeds(cell: Floats, others: Floats) -> Floats:
        ordered = np.sort(others)
        return np.asarray((np.searchsorted(ordered, cell) + np.searchsorted(ordered, cell, "right")) / 2)

    crossing = n - exceeds(cells, own)  # how many of the diagonal's cells exceed each cell
    np.fill_diagonal(crossing, 0)
    won = exceeds(own, off)
    beside = [exceeds(own[i], np.concatenate([np.delete(cells[i], i), np.delete(cells[:, i], i)])) for i in range(n)]
    kept = won.sum() - won - crossing.sum(0) - crossing.sum(1) + np.array(beside)
    return np.asarray(kept / ((n - 1) ** 2 * (n - 2))) if n > 2 else np.full(n, 0.5)


def shuffled(cells: Floats, rng: np.random.Generator) -> Floats:
    """The area under permuted partners: the ranks of all cells stay, other cells count as related."""
    n = len(cells)
    sums = shuffled_traces(midranks(cells), rng)
    return (sums - n * (n + 1) / 2) / (n * n * (n - 1))


def shuffled_traces(cells: Floats, rng: np.random.Generator) -> Floats:
    """Sums of the n cells that count as related under permuted partners."""
    n = len(cells)
    return permutations.draw(
        lambda orders: cells[np.arange(n), orders].sum(1), lambda count: permutations.orders(n, count, rng)
    )


def centred(vectors: Floats) -> Floats:
    """Rows less their own mean, scaled to length 1: their products are Pearson's correlations."""
    return unit(vectors - vectors.mean(1, keepdims=True))


def compared(related: Floats, unrelated: Floats, *, nearer_is_less: bool = False) -> Details:
    """Means, and the share of (related, unrelated) in which the related pair is the nearer, ties counting one half."""
    auc = area_over(related, unrelated)
    return {
        "related": float(related.mean()),
        "unrelated": float(unrelated.mean()),
        "auc": 1 - auc if nearer_is_less else auc,
        "unrelated_pairs": len(unrelated),
    }


def weakest(words: Words, pairs: list[tuple[str, str]], cells: Floats) -> list[Details]:
    """The pairs that the fewest cross pairs lie below: value, and percentile among the cross pairs."""
    cross = np.sort(off_diagonal(cells))
    below = np.searchsorted(cross, np.diag(cells)) / len(cross)
    order = np.argsort(below, kind="stable")[:10]
    return words.listed([pairs[i] for i in order], value=np.diag(cells)[order], percentile=100 * below[order])
