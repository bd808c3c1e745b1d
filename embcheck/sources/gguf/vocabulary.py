"""The vocabulary of a GGUF file: by its rebuilt tokenizer, or by looking words up where its kind is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from embcheck.errors import SourceError
from embcheck.sources.files.looking import printable
from embcheck.sources.gguf.tokenizer import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, Pieces, build, pieces
from embcheck.sources.tokenizers.surface import Notation
from embcheck.sources.tokenizers.vocabulary import RustErrors, TokenizerVocabulary
from embcheck.table.vocabulary import RowStatus, TokenKind, is_unused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embcheck.sources.gguf.header import Header
    from embcheck.table.vocabulary import Vocabulary


class LookupVocabulary:
    """Tokens whose tokenizer is not known: a word is found where one token is written like it, and never split."""

    def __init__(self, found: Pieces) -> None:
        how = Notation(byte_level=any(name.startswith("Ġ") for name in found.names), space="▁")
        surfaces = [how.read(name) for name in found.names]
        self.tokens = [surface.form for surface in surfaces]
        self.kinds = np.fromiter((surface.kind for surface in surfaces), dtype=np.uint8, count=len(surfaces))
        self.kinds[found.of(CONTROL, UNKNOWN)] = TokenKind.SPECIAL
        self.kinds[found.of(BYTE)] = TokenKind.BYTE
        self.status = np.full(len(surfaces), RowStatus.KNOWN, dtype=np.uint8)
        self.status[[row for row, form in enumerate(self.tokens) if is_unused(form)]] = RowStatus.UNUSED
        self.status[found.of(CONTROL, UNKNOWN)] = RowStatus.SPECIAL
        self._rows: dict[str, int] = {}
        for row, form in enumerate(self.tokens):
            if self.status[row] == RowStatus.KNOWN:
                self._rows.setdefault(form, row)

    def encode(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """The row of each word, the form with a leading space first; empty where there is none."""
        rows = (self._rows.get(f" {word}", self._rows.get(word)) for word in words)
        return [() if row is None else (row,) for row in rows]


def vocabulary(header: Header, *, rows: int) -> tuple[Vocabulary, tuple[str, ...]]:
    """Make the vocabulary, and notes for the provenance."""
    if not header.tokens:
        raise SourceError(f"{header.name} holds no tokens (tokenizer.ggml.tokens); give a file with its vocabulary")
    found = pieces(header)
    words = found.of(NORMAL, UNKNOWN, BYTE)
    if words and words[-1] >= rows:
        raise SourceError(
            f"{header.name} has tokens up to id {words[-1]} but its matrix has only {rows} rows; "
            "choose another with tensor=NAME, or get the file again"
        )
    past = sum(row >= rows for row in found.of(CONTROL, USER_DEFINED))
    found = Pieces(found.names[:rows], found.types[:rows], found.repeated)
    with RustErrors(header.name):
        built = build(header, found)
    made: TokenizerVocabulary | LookupVocabulary
    notes: tuple[str, ...]
    if built is None:
        made, notes = LookupVocabulary(found), (_guess(header),)
    else:
        made, notes = TokenizerVocabulary(built[0], rows=rows, origin=header.name), built[1]
    _correct(made, found)
    return made, (*notes, f"{past} special tokens have ids past the matrix's {rows} rows") if past else notes


def _guess(header: Header) -> str:
    kind = printable(header.string("tokenizer.ggml.model")) or "without a name"
    return f"words are looked up whole: how a tokenizer {kind} splits them is not known"


def _correct(made: TokenizerVocabulary | LookupVocabulary, found: Pieces) -> None:
    """Tell what only the file knows: tokens that are not in use, and those that another one hides."""
    for row, first in found.repeated.items():
        if row < len(made.tokens):
            made.tokens[row], made.kinds[row] = made.tokens[first], made.kinds[first]
            made.status[row] = RowStatus.UNREACHABLE
    made.status[found.of(UNUSED)] = RowStatus.UNUSED
