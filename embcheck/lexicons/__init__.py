"""Word lists: relations of word pairs, analogies, categories, ordered words, axes, related words; analogy questions."""

from __future__ import annotations

import functools
from typing import Protocol

from embcheck.lexicons.axes import Axis, axes
from embcheck.lexicons.categories import Categories, Category, categories
from embcheck.lexicons.questions import Questions, Section, questions
from embcheck.lexicons.related import Comparisons, comparisons, related
from embcheck.lexicons.relations import Analogy, Relation, analogies, relation, relations
from embcheck.lexicons.sequences import OrderedWords, sequences

__all__ = [
    "Analogy",
    "Axis",
    "Categories",
    "Category",
    "Comparisons",
    "OrderedWords",
    "Questions",
    "Relation",
    "Section",
    "analogies",
    "axes",
    "categories",
    "comparisons",
    "questions",
    "related",
    "relation",
    "relations",
    "sequences",
    "words",
]


class _Entry(Protocol):
    @property
    def words(self) -> tuple[str, ...]: ...


@functools.cache
def words() -> tuple[str, ...]:
    """Return every distinct word of every list, in file order."""
    entries: tuple[_Entry, ...] = (
        *relations(),
        *analogies(),
        *categories(),
        *sequences(),
        *axes(),
        related(),
        comparisons(),
    )
    return tuple(dict.fromkeys(word for entry in entries for word in entry.words))
