"""Hypothesis strategies over an embedding table, for claims that are to hold for every token, word or pair.

Half of what is drawn comes from the 1,000 simplest tokens, and a failing test is shrunk towards the simplest: words of
two letters and more, then the other tokens (vocabularies put alphabets and bytes first), single characters last, each
by ascending row id. Row ids stand in for frequency, as vocabularies are ordered by it; nothing is counted.

Strategies without a ``table`` draw from the one in force when they are drawn: that of the fixture ``embcheck_table``,
or of ``using``. Where a table has nothing to draw, the test is skipped. They raise `UsageError` where an argument makes
no sense (an unknown kind, both a kind and a relation, an empty range), ``table`` is no table, or hypothesis is missing:
the extra ``hypothesis`` installs it, and nothing imports it before a strategy is made.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast
from unittest import SkipTest

from embcheck.errors import NotMeasurable, UsageError
from embcheck.settings import in_force

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from contextlib import AbstractContextManager

    import numpy as np
    from hypothesis.strategies import DrawFn, SearchStrategy
    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.lexicons import Relation
    from embcheck.stats import Ints
    from embcheck.table import EmbeddingTable

__all__ = ["Kind", "Token", "pairs", "tables", "tokens", "using", "variants", "vectors", "words"]

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
_PARTS = 4  # entries are quarters from -4 to 4: small sums of products are exact, and only a zero row is very short
_SIMPLE = 1_000
_in_force: ContextVar[EmbeddingTable] = ContextVar("embcheck_strategies_table")


@dataclass(frozen=True, slots=True)
class Token:
    """A drawn token: its surface form, and its row in ``table.vectors``."""

    text: str
    id: int


def using(table: EmbeddingTable) -> AbstractContextManager[EmbeddingTable]:
    """Let strategies draw from ``table`` for the ``with`` block, as the fixture ``embcheck_table`` does for a test."""
    return in_force(_in_force, table)


def tokens(table: EmbeddingTable | None = None, *, kind: Kind | None = None) -> SearchStrategy[Token]:
    """Tokens of the population.

    Parameters
    ----------
    kind
        Only ``word`` (letters that begin a word), ``inside`` (letters that continue one), ``ascii`` (one visible ASCII
        character), ``byte``, ``control`` or ``other``.
    """
    _check_kind(kind)
    return _strategy(table, lambda draw, here: _token(here, _pick(draw, _rows_of(here, kind))))


def words(table: EmbeddingTable | None = None, *, among: Sequence[str] | None = None) -> SearchStrategy[str]:
    """Words that are one token of the population, as ``table.rows`` and ``table.directions`` take them.

    Parameters
    ----------
    among
        Words to choose among, simplest first; by default the tokens that begin a word.
    """
    if isinstance(among, str):
        raise UsageError(f"strategies.words(): among must be a list of words, got {among!r}")
    listed = None if among is None else tuple(among)
    return _strategy(
        table, lambda draw, here: _word(draw, here) if listed is None else _pick(draw, _listed_words(here, listed))
    )


def pairs(
    table: EmbeddingTable | None = None, *, kind: Kind | None = None, relation: Relation | None = None
) -> SearchStrategy[tuple[Token, Token]]:
    """Two different tokens: any of the population, or a pair of a relation whose words are single tokens.

    Parameters
    ----------
    kind
        Both are of this kind, as in ``tokens``.
    relation
        Word pairs such as ``lexicons.relations("plural")[0]``, simplest first.
    """
    _check_kind(kind)
    if relation is not None and kind is not None:
        raise UsageError("strategies.pairs() takes a kind or a relation, not both")
    if relation is not None:
        return _strategy(table, lambda draw, here: _pair(here, _pick(draw, _related(here, relation))))
    return _strategy(table, lambda draw, here: _pair(here, _different(draw, _rows_of(here, kind))))


def variants(table: EmbeddingTable | None = None) -> SearchStrategy[tuple[Token, Token]]:
    """Two different tokens that write one word: its case and space variants, as ``vocabulary.word_key`` folds them."""
    return _strategy(table, lambda draw, here: _pair(here, _different(draw, _pick(draw, _rows_of_variants(here)))))


def vectors(table: EmbeddingTable | None = None, *, width: int | None = None) -> SearchStrategy[Tensor]:
    """(d,) float32 vectors on the table's device: sparse, not zero, their entries quarters from -4 to 4.

    Parameters
    ----------
    table
        Its width d and its device are taken; by default the table in force.
    width
        d, where no table is needed; then on the CPU.
    """
    if width is None:
        return _strategy(table, lambda draw, here: draw(_vectors(here.width)).to(here.vectors.device))
    if table is not None or width < 1:
        raise UsageError(f"strategies.vectors() takes a table or a width of 1 or more, got width {width}")
    _require_hypothesis()
    return _vectors(width)


def tables(*, rows: tuple[int, int] = (2, 12), width: tuple[int, int] = (1, 6)) -> SearchStrategy[EmbeddingTable]:
    """Small synthetic tables, shrunk towards few rows and small numbers, under words of the lexicons.

    Entries are quarters from -4 to 4. Rows may be zero or equal; two at least have a direction.

    Parameters
    ----------
    rows
        The fewest and the most rows, from 2 up to as many as the lexicons have words.
    width
        The fewest and the most columns, from 1.
    """
    from embcheck import lexicons

    names = lexicons.words()
    for what, (low, high), least, most in (("rows", rows, 2, len(names)), ("width", width, 1, 4096)):
        if not least <= low <= high <= most:
            raise UsageError(f"strategies.tables(): {what} must be a range within {least} to {most}, got {(low, high)}")
    _require_hypothesis()
    from hypothesis import strategies as st

    from embcheck.table import EmbeddingTable

    shapes = st.tuples(st.integers(*rows), st.integers(*width))
    matrices = shapes.flatmap(_matrices).filter(lambda matrix: int(matrix.any(axis=1).sum()) > 1)
    return matrices.map(lambda matrix: EmbeddingTable.from_arrays(matrix, names[: len(matrix)]))


# --- drawing ----------------------------------------------------------------------------------------------------


def _strategy(table: EmbeddingTable | None, draw_from: Callable[[DrawFn, EmbeddingTable], T]) -> SearchStrategy[T]:
    """A strategy that asks for its table when it is drawn: the one in force changes from test to test."""
    if table is not None and not hasattr(type(table), "population"):
        raise UsageError(f"a strategy draws from an EmbeddingTable, got {table!r}; give kind and the like by name")
    _require_hypothesis()
    from hypothesis import strategies as st

    def drawn(draw: DrawFn) -> T:
        here = _in_force.get(None) if table is None else table
        if here is None:
            raise UsageError(
                "no table to draw from: let the test take the fixture embcheck_table, give the strategy a table, "
                "or draw inside strategies.using(table)"
            )
        return draw_from(draw, here)

    return st.composite(drawn)()


def _require_hypothesis() -> None:
    try:
        import hypothesis  # noqa: F401 - only asked whether it is there
    except ImportError:
        raise UsageError("embcheck.strategies needs hypothesis: pip install 'embcheck[hypothesis]'") from None


def _index(draw: DrawFn, count: int) -> int:
    """An index into a list, half of the time among the first 1,000, where a common counterexample shows if any does."""
    from hypothesis import strategies as st

    return draw(st.sampled_from(range(min(count, _SIMPLE))) | st.sampled_from(range(count)))


def _pick(draw: DrawFn, choices: Sequence[T] | Ints) -> T:
    """A choice, shrunk towards the first."""
    return cast("T", choices[_index(draw, len(choices))])


def _different(draw: DrawFn, rows: Ints) -> tuple[int, int]:
    """Two different rows, in any order."""
    if len(rows) < 2:
        raise Absent(f"only one such token is here (#{rows[0]}): a pair needs two")
    first, second = _index(draw, len(rows)), _index(draw, len(rows) - 1)
    return int(rows[first]), int(rows[second + (second >= first)])


def _word(draw: DrawFn, table: EmbeddingTable) -> str:
    """A token that begins a word and is found by its text; looked up one by one, for encoding all takes long."""
    from hypothesis import assume

    row: int = _pick(draw, _rows_of(table, "word"))
    word = table.token(int(row)).strip()
    assume(table.rows([word]) == [row])
    return word


def _token(table: EmbeddingTable, row: int) -> Token:
    return Token(table.token(int(row)), int(row))


def _pair(table: EmbeddingTable, rows: tuple[int, int]) -> tuple[Token, Token]:
    return _token(table, rows[0]), _token(table, rows[1])


def _matrices(shape: tuple[int, ...], **how: Any) -> SearchStrategy[NDArray[np.float32]]:
    """Float32 arrays of quarters from -4 to 4."""
    import numpy as np
    from hypothesis import strategies as st
    from hypothesis.extra.numpy import arrays

    return arrays(np.float32, shape, elements=st.integers(-4 * _PARTS, 4 * _PARTS).map(lambda n: n / _PARTS), **how)


def _vectors(width: int) -> SearchStrategy[Tensor]:
    import torch
    from hypothesis import strategies as st

    return _matrices((width,), fill=st.just(0.0)).filter(lambda vector: bool(vector.any())).map(torch.from_numpy)


# --- what a table has to draw from, looked up once a table, simplest first -------------------------------------


class Absent(NotMeasurable, SkipTest):
    """The table has nothing to draw. Hypothesis lets it through at once, and test runners skip the test."""


def _check_kind(kind: str | None) -> None:
    """Raise `UsageError` for a kind of token that is not known."""
    if kind is not None and kind not in _KINDS:
        raise UsageError(f"unknown kind of token {kind!r}; choose one of {', '.join(_KINDS)}")


def _look_up(table: EmbeddingTable, key: Hashable, find: Callable[[], T], lacking: str) -> T:
    """What ``find`` finds in a table, kept there; `Absent` where that is nothing."""
    memo = ("strategies", key)
    if memo not in table.memo:
        table.memo[memo] = find()
    kept = cast("T", table.memo[memo])
    if not len(kept):  # type: ignore[arg-type] # sequences and arrays
        raise Absent(f"{table.provenance.spec!r} has no {lacking}")
    return kept


def _rows_of(table: EmbeddingTable, kind: Kind | None) -> Ints:
    """Rows of a kind, simplest first."""
    from embcheck.table.vocabulary import TokenKind

    def find() -> Ints:
        return _ordered(table, table.population if kind is None else table.of_kind(TokenKind[_KINDS[kind]]))

    return _look_up(table, kind, find, f"token of kind {kind!r}")


def _ordered(table: EmbeddingTable, rows: Ints) -> Ints:
    """Words first, single characters last, by row id."""
    import numpy as np

    from embcheck.table.vocabulary import CONTINUATION, TokenKind

    starts = table.of_kind(TokenKind.WORD_START)
    texts, named = table.tokens, len(table.tokens)
    single = [row >= named or len(texts[row].strip().removeprefix(CONTINUATION)) < 2 for row in rows.tolist()]
    return rows[np.lexsort((rows, ~np.isin(rows, starts), np.array(single, dtype=np.bool_)))]


def _related(table: EmbeddingTable, relation: Relation) -> list[tuple[int, int]]:
    """Rows of each pair of a relation that has both words."""

    def find() -> list[tuple[int, int]]:
        ends = (table.rows(words) for words in zip(*relation.pairs, strict=True))
        return [(a, b) for a, b in zip(*ends, strict=True) if a is not None and b is not None]

    return _look_up(table, ("relation", relation), find, f"pair of {relation.name!r} that is two single tokens")


def _rows_of_variants(table: EmbeddingTable) -> list[Ints]:
    """Rows of each word that several tokens write, words simplest first."""

    def find() -> list[Ints]:
        import numpy as np

        from embcheck.table.vocabulary import word_key

        groups: dict[str, list[int]] = {}
        for row in _rows_of(table, None):
            groups.setdefault(word_key(table.token(int(row))), []).append(int(row))
        return [np.array(rows) for rows in groups.values() if len(rows) > 1]

    return _look_up(table, "variants", find, "word that two tokens write")


def _listed_words(table: EmbeddingTable, listed: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a list that are single tokens of the population, in its order."""

    def find() -> tuple[str, ...]:
        return tuple(word for word, row in zip(listed, table.rows(listed), strict=True) if row is not None)

    return _look_up(table, ("words", listed), find, "such word that is a single token")
