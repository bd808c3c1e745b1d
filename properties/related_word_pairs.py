"""Are related words nearer to each other than unrelated ones?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, beats, claim, lexicons, measures, needs, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(
    above(0.55),
    beats(nulls.shuffled_pairs),
    margin=0.02,
    bad="down",
    needs=(needs.language("relation"), needs.pairs("relation")),
    relation=(lexicons.related(), *lexicons.in_languages([lexicons.related()])),
)
def related_word_pairs(table: EmbeddingTable, relation: lexicons.Relation, rng: np.random.Generator) -> Estimate:
    """A word is nearer by cosine to a related word than words of different pairs are to each other.

    ``embcheck.measures.related_pair_auc`` gives the formula (Mann and Whitney's U). King and queen, dog and cat, happy
    and joyful are among the pairs of the notebook "Word Embeddings: From Tokens to Geometry" (2026); hot and cold are
    the post's "The token embeddings in LLM mostly have positive cosine similarity with each other" (2026); small + dog
    and the synonyms of size are the notes' "Size Comparison Congruence".
    """
    return measures.related_pair_auc(table, relation, rng=rng)
