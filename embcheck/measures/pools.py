"""Pools of words from which nulls draw: of like frequency, or free to make an axis of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from embcheck import lexicons
from embcheck.errors import NotMeasurable
from embcheck.table.vocabulary import TokenKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from embcheck.lexicons import Axis
    from embcheck.table import EmbeddingTable

__all__ = ["axis_pool", "matched_pools"]

POOL = 20
STEM = 4  # letters: words that share so many at the start count as related


def axis_pool(axis: Axis) -> list[str]:
    """Words that a random axis may be made of: this axis' own and those of all lexicons, but for what is projected out.

    Of case variants the first is kept.
    """
    taken = {word.casefold() for pair in axis.away for word in pair}
    known: dict[str, str] = {}
    for word in (*axis.poles.words, *lexicons.words()):
        known.setdefault(word.casefold(), word)
    return [word for folded, word in known.items() if folded not in taken]


def matched_pools(
    table: EmbeddingTable, rows: NDArray[np.int64], pairs: Sequence[tuple[str, str]]
) -> NDArray[np.int64]:
    """Pools of words of like frequency, one a pair: (n, m) rows, disjoint, the second word itself first.

    Frequency is read off the row id, which follows it in most vocabularies. A pool holds the words with the nearest ids
    that are of the second word's class, occur in no pair and do not begin like the pair's first word.
    """
    taken = set(rows.reshape(-1).tolist())
    words = np.concatenate([table.of_kind(TokenKind.WORD_START), table.of_kind(TokenKind.WORD_INSIDE)])
    kinds = table.vocabulary.kinds
    usual = int(np.bincount(kinds[rows[:, 1]]).argmax())
    candidates = np.sort(np.array([row for row in words if kinds[row] == usual and row not in taken], dtype=np.int64))
    extra = min(POOL - 1, len(candidates) // max(1, len(rows)))
    if extra < 1:
        raise NotMeasurable(f"{len(candidates)} other words are too few to match {len(rows)} pairs by frequency")
    free = np.ones(len(candidates), dtype=np.bool_)
    pools = np.empty((len(rows), 1 + extra), dtype=np.int64)
    for i in np.argsort(rows[:, 1]):
        stem = pairs[i][0].casefold()[:STEM]
        chosen: list[int] = []
        for j in _nearest_first(candidates, free, int(rows[i, 1]), extra + STEM * 4):
            related = table.token(int(candidates[j])).strip().casefold().startswith(stem)
            if not related and len(chosen) < extra:
                chosen.append(int(j))
        if len(chosen) < extra:
            raise NotMeasurable(f"too few words unrelated to {pairs[i][0]!r} to match it by frequency")
        free[chosen] = False
        pools[i] = [rows[i, 1], *candidates[chosen]]
    return pools


def _nearest_first(candidates: NDArray[np.int64], free: NDArray[np.bool_], row: int, count: int) -> NDArray[np.int64]:
    """Positions of the free candidates with ids nearest to ``row``."""
    open_ = np.flatnonzero(free)
    middle = int(np.searchsorted(candidates[open_], row))
    window = open_[max(0, middle - count) : middle + count]
    nearest: NDArray[np.int64] = window[np.argsort(np.abs(candidates[window] - row), kind="stable")]
    return nearest
