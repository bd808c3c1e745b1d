"""Word lists: pairs, analogies, categories, hierarchies, ordered words, axes; some in nine languages; questions."""

from __future__ import annotations

import functools
from typing import Any

from embcheck.lexicons.groups import (
    Categories,
    Category,
    Hierarchy,
    OrderedWords,
    Taxonomy,
    categories,
    hierarchies,
    sequences,
    taxonomy,
)
from embcheck.lexicons.languages import LANGUAGES, enough, in_languages, language_of
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
    "LANGUAGES", "Analogy", "Axis", "Categories", "Category", "Comparisons", "Hierarchy", "OrderedWords", "Questions",
    "Relation", "Section", "Taxonomy", "analogies", "axes", "categories", "comparisons", "enough", "hierarchies",
    "in_languages", "language_of", "questions", "related", "relation", "relations", "sequences", "taxonomy", "words",
]  # fmt: skip


@functools.cache
def words() -> tuple[str, ...]:
    """Return every distinct word of every list but hierarchies and those of other languages, in file order."""
    named: tuple[Any, ...] = (*relations(), *analogies(), *categories(), *sequences(), *axes())
    return tuple(dict.fromkeys(word for entry in (*named, related(), comparisons()) for word in entry.words))
