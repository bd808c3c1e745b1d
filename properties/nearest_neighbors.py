"""Are the nearest words of a name names, of a city cities?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, beats, claim, lexicons, measures, needs, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(
    above(0.1),
    beats(nulls.shuffled_categories),
    margin=0.05,
    bad="down",
    needs=(needs.language("categories", only="category"), needs.groups("categories", only="category")),
    categories=(*lexicons.categories("kinds"), *lexicons.in_languages(lexicons.categories("kinds"))),
    category=lexicons.categories("kinds")[0].names,
)
def nearest_neighbors(
    table: EmbeddingTable, categories: lexicons.Categories, category: str, rng: np.random.Generator
) -> Estimate:
    """The ten nearest words of a name, common noun, city or emotion are of its kind more often than by chance.

    ``embcheck.measures.neighbor_category_share`` gives the formula. The claim, and the query "Mike" whose neighbors are
    other names and its own variants, are those of the lesson "Measuring Similarity in GPT-2".
    """
    return measures.neighbor_category_share(table, categories, category, rng=rng)
