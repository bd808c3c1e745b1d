"""Do words of one category lie together?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, beats, claim, lexicons, measures, needs, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(
    above(0.05),
    beats(nulls.shuffled_categories),
    margin=0.02,
    bad="down",
    needs=(needs.language("categories"), needs.groups("categories")),
    categories=(*lexicons.categories("eight"), *lexicons.in_languages(lexicons.categories("eight"))),
)
def semantic_categories(table: EmbeddingTable, categories: lexicons.Categories, rng: np.random.Generator) -> Estimate:
    """Words of one semantic category have a larger cosine with each other than with words of other categories.

    ``embcheck.measures.category_separation`` gives the formula; the eight categories of eight words are those of the
    notebook "Word Embeddings: From Tokens to Geometry" (2026).
    """
    return measures.category_separation(table, categories, rng=rng)
