"""Axes of meaning, each from one pole to the other."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from embcheck.lexicons.read import load, select
from embcheck.lexicons.relations import Pair, Relation, checked_pair, relations

__all__ = ["Axis", "axes"]


@dataclass(frozen=True, slots=True)
class Axis:
    """Pairs of words, each read from one pole to the other.

    ``orthogonal_to`` is the axis that is projected out first. ``source`` holds the pairs that the source document
    builds its axis from, ``focus`` the words that it projects, ``controls`` those that should lie near zero.
    """

    name: str
    sentence: str
    poles: Relation
    orthogonal_to: Axis | None = None
    source: tuple[Pair, ...] = ()
    focus: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()

    @property
    def away(self) -> tuple[Pair, ...]:
        """Pairs of ``orthogonal_to`` without this axis' own words: with them, a word would help to place itself."""
        other = () if self.orthogonal_to is None else self.orthogonal_to.poles.pairs
        own = {word.casefold() for word in self.poles.words}
        return tuple(pair for pair in other if not own & {word.casefold() for word in pair})

    @property
    def words(self) -> tuple[str, ...]:
        """Every distinct word that the axis needs."""
        away = () if self.orthogonal_to is None else self.orthogonal_to.words
        own = (word for pair in self.source for word in pair)
        return tuple(dict.fromkeys((*self.poles.words, *own, *self.focus, *self.controls, *away)))

    def __str__(self) -> str:
        return self.name


def axes(*names: str) -> tuple[Axis, ...]:
    """Return the axes of these names, or all of them; `UsageError` for a name not known."""
    return select("axis", _axes(), names)


@functools.cache
def _axes() -> dict[str, Axis]:
    tables = load("axes.toml")
    shown = {name: tuple(words) for name, words in tables.pop("words").items()}
    known: dict[str, Axis] = {}
    for name, table in tables.items():
        known[name] = _axis(name, table, known, shown)
    return known


def _axis(name: str, table: dict[str, Any], known: dict[str, Axis], shown: dict[str, tuple[str, ...]]) -> Axis:
    sentence = table["sentence"]
    poles = relations(table["relation"])[0] if "relation" in table else Relation(name, sentence, table["strata"])
    away = known[table["orthogonal_to"]] if "orthogonal_to" in table else None
    source = tuple(checked_pair(name, tuple(pair)) for pair in table["source"])
    return Axis(name, sentence, poles, away, source, **shown)
