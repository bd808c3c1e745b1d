"""A vocabulary read from a tokenizer: surface forms, classes, which tokens no text leads to, words to rows."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from embcheck.errors import SourceError
from embcheck.sources.files.looking import one_line
from embcheck.sources.tokenizers.reach import unreachable
from embcheck.sources.tokenizers.surface import Notation, Surface, notation
from embcheck.table.vocabulary import RowStatus, TokenKind, classify, is_unused

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from numpy.typing import NDArray
    from tokenizers import AddedToken, Tokenizer

_UNWRITABLE = "\U0010fffd"  # a private-use character, which no vocabulary has
_HOLE = Surface("", TokenKind.OTHER, None)


class TokenizerVocabulary:
    """The tokens of a `tokenizers.Tokenizer`, as far as a matrix has rows for them.

    Padding and truncation of the tokenizer are switched off.
    """

    def __init__(self, tokenizer: Tokenizer, *, rows: int, origin: str = "the tokenizer") -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        with RustErrors(origin):
            own = tokenizer.get_vocab(with_added_tokens=False)
            added = tokenizer.get_added_tokens_decoder()
            how = notation(tokenizer)
        _refuse_overflow(own, added, rows, origin)
        self._own, self._how = own, how
        self._added = {i: token for i, token in added.items() if i < rows}
        past = len(added) - len(self._added)
        self.notes = (f"{past} added tokens have ids past the matrix's {rows} rows, and no vector",) if past else ()

    # What the tokens are is worked out when it is first asked for: it takes longer than reading the matrix.

    @cached_property
    def _surfaces(self) -> list[Surface]:
        return _surfaces(self._own, self._added, self._how)

    @cached_property
    def tokens(self) -> list[str]:
        """Surface forms by row."""
        return [surface.form for surface in self._surfaces]

    @property
    def kinds(self) -> NDArray[np.uint8]:
        """``TokenKind`` by row."""
        return self._judged[0]

    @property
    def status(self) -> NDArray[np.uint8]:
        """``RowStatus`` by row."""
        return self._judged[1]

    @cached_property
    def _bare_space(self) -> frozenset[int]:
        return frozenset(row for row, form in enumerate(self.tokens) if form == " ")

    def encode(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """Rows of each word; empty where it can't be written without an unknown token.

        Of the word behind a space and the word alone, the one in fewer tokens; of equals the one behind a space.
        """
        behind = self._ids([f" {word}" for word in words])
        alone = self._ids(list(words))
        return [
            min(filter(None, map(self._usable, pair)), key=len, default=()) for pair in zip(behind, alone, strict=True)
        ]

    def _usable(self, ids: Sequence[int]) -> tuple[int, ...]:
        """The ids without a space that stands alone; none if one is unknown or has no row."""
        if any(i in self._unknown or i >= len(self.tokens) for i in ids):
            return ()
        return tuple(i for i in ids if i not in self._bare_space)

    def _ids(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text, none for those that the tokenizer refuses."""
        try:
            with RustErrors("the tokenizer"):
                return [e.ids for e in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        except SourceError:  # it has no token for unknown text: find the texts that it can write, by halving
            if len(texts) == 1:
                return [[]]
        middle = len(texts) // 2
        return self._ids(texts[:middle]) + self._ids(texts[middle:])

    @cached_property
    def _unknown(self) -> frozenset[int]:
        """The token that stands for text which can't be written, if there is one."""
        try:
            with RustErrors("the tokenizer"):
                found = {token.id for token in self._tokenizer.model.tokenize(_UNWRITABLE)}
        except SourceError:
            return frozenset()
        return frozenset(i for i in found if i >= len(self.tokens) or self._surfaces[i].kind != TokenKind.BYTE)

    @cached_property
    def _judged(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Kinds and status."""
        surfaces = self._surfaces
        kinds = np.fromiter((s.kind for s in surfaces), dtype=np.uint8, count=len(surfaces))
        status = np.full(len(surfaces), RowStatus.KNOWN, dtype=np.uint8)
        texts, inside = {}, set()
        for row, surface in enumerate(surfaces):
            if surface is _HOLE or is_unused(surface.form):
                status[row] = RowStatus.UNUSED
            elif surface.kind == TokenKind.SPECIAL or row in self._unknown:
                status[row] = RowStatus.SPECIAL
                kinds[row] = TokenKind.SPECIAL
            elif surface.impossible or surface.text == "":
                status[row] = RowStatus.UNREACHABLE
            elif surface.text:
                texts[row] = surface.text
                if surface.inside:
                    inside.add(row)
        never = unreachable(self._ids, texts, inside=frozenset(inside))
        status[sorted(never)] = RowStatus.UNREACHABLE
        return kinds, status


class RustErrors:
    """Turn what `tokenizers` raises into `SourceError`: plain ``Exception``, and panics of a class not exported."""

    def __init__(self, origin: str) -> None:
        self._origin = origin

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Raise `SourceError` for exactly those classes; others pass."""
        if kind is not None and (kind is Exception or kind.__name__ == "PanicException"):
            raise SourceError(f"{self._origin} is malformed: {one_line(error)}; get the file again") from None


def _refuse_overflow(own: dict[str, int], added: dict[int, AddedToken], rows: int, origin: str) -> None:
    ids = {i for i in own.values() if i not in added}
    if not ids and not added:
        raise SourceError(f"{origin} has no tokens; get the file again")
    if ids and max(ids) >= rows:
        raise SourceError(
            f"{origin} has token ids up to {max(ids)} but the embedding matrix has only {rows} rows; "
            "give the tokenizer that belongs to these weights"
        )


def _surfaces(own: dict[str, int], added: dict[int, AddedToken], how: Notation) -> list[Surface]:
    """Surface forms by row, with holes filled."""
    found = {i: how.read(raw) for raw, i in own.items() if i not in added}
    found.update({i: _added(token) for i, token in added.items()})
    return [found.get(row, _HOLE) for row in range(max(found, default=-1) + 1)]


def _added(token: AddedToken) -> Surface:
    """A token added to the vocabulary: a word that a user taught it is text, all else is markup."""
    content = token.content
    if not token.special and content.strip().isalnum():
        return Surface(content, classify(content, starts_word=True), content)
    return Surface(content, TokenKind.SPECIAL, None)
