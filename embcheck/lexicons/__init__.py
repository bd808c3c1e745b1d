"""Word lists: relations of word pairs, analogies, categories, ordered words, axes, related words; analogy questions."""

from __future__ import annotations

import functools
from typing import Any

from embcheck.lexicons.groups import Categories, Category, OrderedWords, categories, sequences
from embcheck.lexicons.relations import (
    Analogy,
    Axis,
    Comparisons,
    Questions,
    Relation,
    Section,
    analogies,
    axes,
    comparisons,
    questions,
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
    named: tuple[Any, ...] = (*relations(), *analogies(), *categories(), *sequences(), *axes())
    return tuple(dict.fromkeys(word for entry in (*named, related(), comparisons()) for word in entry.words))
