"""What a table has to draw from, found once a table, in the order in which it is simplest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar, cast
from unittest import SkipTest

from embcheck.errors import NotMeasurable, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    import numpy as np
    from numpy.typing import NDArray

    from embcheck.lexicons import Relation
    from embcheck.table import EmbeddingTable

__all__ = ["Absent", "Kind", "check_kind", "listed_words", "related", "rows_of", "rows_of_variants"]

T = TypeVar("T")
Kind = Literal["word", "inside", "ascii", "byte", "control", "other"]
_KINDS = {
    "word": "WORD_START",
    "inside": "WORD_INSIDE",
    "ascii": "ASCII_CHARACTER",
    "byte": "BYTE",
    "control": "CONTROL",
    "other": "OTHER",
}


class Absent(NotMeasurable, SkipTest):
    """The table has nothing to draw. Hypothesis lets it through at once, and test runners skip the test."""


def check_kind(kind: str | None) -> None:
    """Raise `UsageError` for a kind of token that is not known."""
    if kind is not None and kind not in _KINDS:
        raise UsageError(f"unknown kind of token {kind!r}; choose one of {', '.join(_KINDS)}")


def _kept(table: EmbeddingTable, key: Hashable, find: Callable[[], T], lacking: str) -> T:
    """What ``find`` finds in a table, kept there; `Absent` where that is nothing."""
    memo = ("strategies", key)
    if memo not in table.memo:
        table.memo[memo] = find()
    kept = cast("T", table.memo[memo])
    if not len(kept):  # type: ignore[arg-type] # sequences and arrays
        raise Absent(f"{table.provenance.spec!r} has no {lacking}")
    return kept


def rows_of(table: EmbeddingTable, kind: Kind | None) -> NDArray[np.int64]:
    """Rows of a kind, simplest first."""
    from embcheck.table.vocabulary import TokenKind

    def find() -> NDArray[np.int64]:
        return _ordered(table, table.population if kind is None else table.of_kind(TokenKind[_KINDS[kind]]))

    return _kept(table, kind, find, f"token of kind {kind!r}")


def _ordered(table: EmbeddingTable, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Words first, single characters last, by row id."""
    import numpy as np

    from embcheck.table.vocabulary import CONTINUATION, TokenKind

    starts = table.of_kind(TokenKind.WORD_START)
    texts, named = table.tokens, len(table.tokens)
    single = [row >= named or len(texts[row].strip().removeprefix(CONTINUATION)) < 2 for row in rows.tolist()]
    return rows[np.lexsort((rows, ~np.isin(rows, starts), np.array(single, dtype=np.bool_)))]


def related(table: EmbeddingTable, relation: Relation) -> list[tuple[int, int]]:
    """Rows of each pair of a relation that has both words."""

    def find() -> list[tuple[int, int]]:
        ends = (table.rows(words) for words in zip(*relation.pairs, strict=True))
        return [(a, b) for a, b in zip(*ends, strict=True) if a is not None and b is not None]

    return _kept(table, ("relation", relation), find, f"pair of {relation.name!r} that is two single tokens")


def rows_of_variants(table: EmbeddingTable) -> list[NDArray[np.int64]]:
    """Rows of each word that several tokens write, words simplest first."""

    def find() -> list[NDArray[np.int64]]:
        import numpy as np

        from embcheck.table.vocabulary import word_key

        groups: dict[str, list[int]] = {}
        for row in rows_of(table, None):
            groups.setdefault(word_key(table.token(int(row))), []).append(int(row))
        return [np.array(rows) for rows in groups.values() if len(rows) > 1]

    return _kept(table, "variants", find, "word that two tokens write")


def listed_words(table: EmbeddingTable, listed: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a list that are single tokens of the population, in its order."""

    def find() -> tuple[str, ...]:
        return tuple(word for word, row in zip(listed, table.rows(listed), strict=True) if row is not None)

    return _kept(table, ("words", listed), find, "such word that is a single token")
