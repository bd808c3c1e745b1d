"""What tokens are by their spelling, for the properties that ask: numbers, words of different stems, variants."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np

from embcheck.settings import current
from embcheck.table.vocabulary import TokenKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from embcheck.table.table import EmbeddingTable

    Ints = NDArray[np.int64]

__all__ = ["NUMBERS", "STEM", "Variant", "numbers", "stems", "variants"]

NUMBERS = 1_000
STEMS = 5_000
VARIANTS, LOOKED_AT = 400, 20_000
STEM = 4  # letters: words that share so many at the start count as related
_SHORTEST = 3
Variant = Literal["case", "space"]


def numbers(table: EmbeddingTable) -> tuple[Ints, Ints]:
    """The whole numbers from 0 to 999 that are one token, and their rows, (n,) each; found once a table.

    Of numbers that share a row the first counts: what is read from the one would be known of the other.
    """
    if "numbers" not in table.memo:
        rows = table.rows([str(number) for number in range(NUMBERS)])
        first = {row: number for number, row in reversed([*enumerate(rows)]) if row is not None}
        known = sorted(first.values())
        table.memo["numbers"] = np.array([known, [rows[number] for number in known]], dtype=np.int64)
    values, rows_of = table.memo["numbers"]
    return values, rows_of


def stems(table: EmbeddingTable) -> Ints:
    """Rows of at most 5,000 tokens that begin a word of ASCII letters, in hash order, no two of one stem.

    A stem is the first four letters, whatever their case, and a word has at least three.
    """
    memo = ("stems", current().seed)
    if memo not in table.memo:
        words = _one_a_stem(_words(table, table.of_kind(TokenKind.WORD_START)))
        table.memo[memo] = np.fromiter(islice(words, STEMS), dtype=np.int64)
    rows: Ints = table.memo[memo]
    return rows


def variants(table: EmbeddingTable, variant: Variant) -> Ints:
    """(n, 2) rows of at most 400 words that two tokens write, in hash order, no two of one stem.

    By ``case`` the tokens differ in that of their first letter, the small one first; by ``space`` in whether they have
    a leading space, the one with it first. Words are looked for among 20,000 tokens in hash order.
    """
    memo = ("variants", variant, current().seed)
    if memo not in table.memo:
        kinds = (TokenKind.WORD_START, TokenKind.WORD_INSIDE)
        rows = np.sort(np.concatenate([table.of_kind(kind) for kind in kinds]))
        words = list(islice(_words(table, rows), LOOKED_AT))
        sides = [word[0].islower() if variant == "case" else table.tokens[row] != word for row, word in words]
        firsts = [word for word, is_first in zip(words, sides, strict=True) if is_first]
        other = dict(_partners(table, firsts, variant)) if len(firsts) < len(words) else {}
        kept = islice(_one_a_stem(word for word in firsts if word[0] in other), VARIANTS)
        table.memo[memo] = np.array([(row, other[row]) for row in kept], dtype=np.int64).reshape(-1, 2)
    pairs: Ints = table.memo[memo]
    return pairs


def _words(table: EmbeddingTable, rows: Ints) -> Iterator[tuple[int, str]]:
    """Those of the rows that are a word of at least three ASCII letters, and the word, in hash order."""
    for row in table.probes(len(rows), among=rows).tolist():
        word = table.tokens[row].strip()
        if len(word) >= _SHORTEST and word.isascii() and word.isalpha():
            yield row, word


def _one_a_stem(words: Iterable[tuple[int, str]]) -> Iterator[int]:
    """Rows of the first word of each stem."""
    known = set()
    for row, word in words:
        if (stem := word[:STEM].lower()) not in known:
            known.add(stem)
            yield row


def _partners(table: EmbeddingTable, words: Iterable[tuple[int, str]], variant: Variant) -> Iterator[tuple[int, int]]:
    """Rows of the words that have another spelling in the population, and that one's row."""
    for row, word in words:
        token = table.tokens[row]
        other = token.replace(word, word[0].upper() + word[1:]) if variant == "case" else word
        if (written := table.written(other)) and table.in_population[written[0]]:
            yield row, written[0]
