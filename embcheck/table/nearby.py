"""Looking around in one table by hand: what is near a word, one token against all others, an analogy."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from embcheck.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import SupportsIndex

    from numpy.typing import NDArray

    from embcheck.table.table import EmbeddingTable

__all__ = ["Analogy", "Nearby", "Neighbor", "Probe"]


class Neighbor(NamedTuple):
    """A row, and how near it is."""

    token: str
    id: int
    cosine: float


@dataclass(frozen=True, slots=True)
class Probe:
    """One token against all others of the population."""

    token: str
    id: int
    rows: NDArray[np.int64] = field(repr=False)
    """(n,) the others, ascending."""
    cosines: NDArray[np.float64] = field(repr=False)
    """(n,) the token's cosine with each."""
    min: float
    max: float
    mean: float
    median: float
    non_negative: int
    negative: int
    share: float
    """``non_negative / n``."""
    nearest: tuple[Neighbor, ...] = field(repr=False)
    """The ten with the largest cosine."""
    farthest: tuple[Neighbor, ...] = field(repr=False)
    """The ten with the smallest."""


@dataclass(frozen=True, slots=True)
class Analogy:
    """What is nearest to a - b + c by cosine, variants of one word counted once."""

    nearest: tuple[Neighbor, ...]
    """Without the words of the question, as analogies are mostly scored."""
    nearest_of_all: tuple[Neighbor, ...]
    """With them."""
    ranks: dict[str, int | None]
    """Of each word of the question among all, and of the target; ``None`` where it is no word of this vocabulary."""
    target_rank: int | None
    """The target's rank without the words of the question; ``None`` where none was given, or it is none of these."""


def _explore() -> Any:
    """The functions for a person at a prompt, which are built on tables: imported when one is asked for."""
    return importlib.import_module("embcheck.explore")


class Nearby:
    """What an ``EmbeddingTable`` says of single words.

    A word is one token, with a leading space or without; in double quotes of its own (``'"!"'``) it is the token that
    is written exactly so, and ``"#17"`` or ``17`` is the row of that number. `UsageError` where it is none of these or
    several tokens, whose mean is no row (`embcheck.explore` takes it where asked), `NotMeasurable` where its vector has
    no direction.
    """

    def nearest(self, word: str | SupportsIndex, k: int = 10, *, merge: bool = False) -> tuple[Neighbor, ...]:
        """The k rows of the population nearest to a word by cosine, best first, its own left out.

        With ``merge`` case and space variants of one word count once, and those of the word itself are left out.
        """
        _explore().require_single(self._table, [word])
        return _neighbors(_explore().neighbors(self._table, word, _count(k), merge=merge)["neighbors"])

    def probe(self, token: str | SupportsIndex) -> Probe:
        """One token against every other row of the population: cosines, how many are negative, and the ends."""
        row, rows, cosines = _explore().cosines_of(self._table, token)
        order = np.argsort(-cosines, kind="stable")
        ends = (order[:10], order[::-1][:10])
        nearest, farthest = (
            tuple(Neighbor(self._table.token(int(rows[i])), int(rows[i]), float(cosines[i])) for i in end)
            for end in ends
        )
        negative = int((cosines < 0).sum())
        return Probe(
            token=self._table.token(row),
            id=row,
            rows=rows,
            cosines=cosines,
            min=float(cosines.min()),
            max=float(cosines.max()),
            mean=float(cosines.mean()),
            median=float(np.median(cosines)),
            non_negative=len(rows) - negative,
            negative=negative,
            share=(len(rows) - negative) / len(rows),
            nearest=nearest,
            farthest=farthest,
        )

    def analogy(self, question: str, k: int = 10) -> Analogy:
        """The k rows nearest to ``"king - man + woman"``, or ``"king - man + woman = queen"``, by 3CosAdd on unit rows.

        Reference: Mikolov, Yih & Zweig 2013.
        """
        words = _explore().parse_analogy(question)
        _explore().require_single(self._table, words)
        document = _explore().analogy(self._table, question, _count(k))
        ranks = document["ranks"]
        target = words[3] if len(words) > 3 else None
        return Analogy(
            nearest=_neighbors(document["sources_excluded"]),
            nearest_of_all=_neighbors(document["sources_kept"]),
            ranks={word: rank["sources_kept"] for word, rank in ranks.items()},
            target_rank=None if target is None else ranks[target]["sources_excluded"],
        )

    @property
    def _table(self) -> EmbeddingTable:
        return cast("EmbeddingTable", self)


def _neighbors(entries: Sequence[dict[str, Any]]) -> tuple[Neighbor, ...]:
    return tuple(Neighbor(entry["token"], entry["id"], entry["cosine"]) for entry in entries)


def _count(k: int) -> int:
    if k < 1:
        raise UsageError(f"k must be at least 1, got {k}")
    return k
