"""What tokens are by their spelling, for the properties that ask about it: whole numbers, words of different stems."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from embcheck.settings import current
from embcheck.table.vocabulary import TokenKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from embcheck.table.table import EmbeddingTable

    Ints = NDArray[np.int64]

__all__ = ["NUMBERS", "STEM", "STEMS", "numbers", "stems"]

NUMBERS = 1_000
STEMS = 5_000
STEM = 4  # letters: words that share so many at the start count as related
_SHORTEST = 3


def numbers(table: EmbeddingTable) -> tuple[Ints, Ints]:
    """The whole numbers from 0 to 999 that are one token, and their rows, (n,) each; found once a table."""
    if "numbers" not in table.memo:
        rows = table.rows([str(number) for number in range(NUMBERS)])
        known = [number for number, row in enumerate(rows) if row is not None]
        table.memo["numbers"] = np.array([known, [rows[number] for number in known]], dtype=np.int64)
    values, rows_of = table.memo["numbers"]
    return values, rows_of


def stems(table: EmbeddingTable) -> Ints:
    """Rows of at most 5,000 tokens that begin a word of ASCII letters, in hash order, no two of one stem.

    A stem is the first four letters, whatever their case, and a word has at least three.
    """
    memo = ("stems", current().seed)
    if memo not in table.memo:
        words = _one_a_stem(table, table.of_kind(TokenKind.WORD_START))
        table.memo[memo] = np.fromiter(islice(words, STEMS), dtype=np.int64)
    rows: Ints = table.memo[memo]
    return rows


def _one_a_stem(table: EmbeddingTable, rows: Ints) -> Iterator[int]:
    """Those of the rows that are a word of ASCII letters, in hash order, the first of each stem."""
    known = set()
    for row in table.probes(len(rows), among=rows).tolist():
        word = table.tokens[row].strip()
        if len(word) >= _SHORTEST and word.isascii() and word.isalpha() and (stem := word[:STEM].lower()) not in known:
            known.add(stem)
            yield row
