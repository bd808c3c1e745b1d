"""Word lists: relations of word pairs, analogies, categories, ordered words, axes, related words; analogy questions."""

from __future__ import annotations

import functools
from typing import Any

from embcheck.lexicons.axes import Axis, axes
from embcheck.lexicons.groups import Categories, Category, OrderedWords, categories, sequences
from embcheck.lexicons.questions import Questions, Section, questions
from embcheck.lexicons.relations import (
    Analogy,
    Comparisons,
    Relation,
    analogies,
    comparisons,
    related,
    relation,
    relations,
)

__all__ = [
    "Analogy", "Axis", "Categories", "Category", "Comparisons", "OrderedWords", "Questions", "Relation", "Section",
    "analogies", "axes", "categories", "comparisons", "questions", "related", "relation", "relations", "sequences",
    "words",
]  # fmt: skip


@functools.cache
def words() -> tuple[str, ...]:
    """Return every distinct word of every list, in file order."""
    lists: tuple[Any, ...] = (
        *relations(),
        *analogies(),
        *categories(),
        *sequences(),
        *axes(),
        related(),
        comparisons(),
    )
    return tuple(dict.fromkeys(word for entry in lists for word in entry.words))
