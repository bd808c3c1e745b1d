"""A vocabulary of tokens whose tokenizer is not known: words are looked up whole, as the tokens write them."""

from __future__ import annotations

import re
from functools import cached_property
from operator import methodcaller
from typing import TYPE_CHECKING

import numpy as np

from embcheck.sources.tokenizers.surface import Notation, Surface
from embcheck.table.vocabulary import RowStatus, TokenKind, is_uncased, is_unused

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_MARKUP = re.compile(r"<(unk|s|/s|pad|mask|cls|sep)>|<\|[^|]+\|>|\[(UNK|CLS|SEP|MASK|PAD)\]")
_SPACE, _BYTES_SPACE, _SUFFIX = "▁", "Ġ", "</w>"
_ENOUGH = 0.05  # of all names; words of no language begin with these so often


class LookupVocabulary:
    """Tokens whose tokenizer is not known: a word is found where one token is written like it, and never split.

    Where the tokens are in lower case (`is_uncased`), so may the word be.
    """

    has_words = True
    in_contexts = False
    notes: tuple[str, ...] = ()

    def __init__(
        self, surfaces: Sequence[Surface], *, special: Collection[int] = (), fallback: Collection[int] = ()
    ) -> None:
        self.tokens = [surface.form for surface in surfaces]
        self.kinds = np.fromiter((surface.kind for surface in surfaces), dtype=np.uint8, count=len(surfaces))
        self.kinds[list(special)] = TokenKind.SPECIAL
        self.kinds[list(fallback)] = TokenKind.BYTE
        self.status = np.full(len(surfaces), RowStatus.KNOWN, dtype=np.uint8)
        self.status[[row for row, form in enumerate(self.tokens) if is_unused(form)]] = RowStatus.UNUSED
        self.status[list(special)] = RowStatus.SPECIAL
        self._rows: dict[str, int] = {}
        for row, form in enumerate(self.tokens):
            if self.status[row] == RowStatus.KNOWN and self._rows.setdefault(form, row) != row:
                self.status[row] = RowStatus.UNREACHABLE

    def encode(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """The row of each word, the form with a leading space first; empty where there is none."""
        rows = map(self._row, words)
        return [() if row is None else (row,) for row in rows]

    def _row(self, word: str) -> int | None:
        row = self._rows.get(f" {word}", self._rows.get(word))
        return self._row(word.lower()) if row is None and self._uncased and word != word.lower() else row

    @cached_property
    def _uncased(self) -> bool:
        return is_uncased(self._rows)


def token_marks(names: Sequence[str]) -> Notation | None:
    """How a list of a tokenizer's tokens marks the start or end of words; ``None`` for a list of words."""
    least = max(1, _ENOUGH * len(names))
    if sum(map(methodcaller("startswith", _BYTES_SPACE), names)) >= least:
        return Notation(byte_level=True)
    if sum(map(methodcaller("startswith", _SPACE), names)) >= least:
        return Notation(space=_SPACE)
    return Notation(suffix=_SUFFIX) if sum(map(methodcaller("endswith", _SUFFIX), names)) >= least else None


def from_names(names: Sequence[str], how: Notation) -> LookupVocabulary:
    """The vocabulary of a tokenizer of which nothing but the names of its tokens is there."""
    marked = [row for row, name in enumerate(names) if _MARKUP.fullmatch(name)]
    vocabulary = LookupVocabulary([how.read(name) for name in names], special=marked)
    vocabulary.notes = ("words are looked up whole: the list has the tokens of a tokenizer, not how it splits words",)
    return vocabulary
