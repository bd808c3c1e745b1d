"""Is there a plural direction?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, beats, claim, lexicons, measures, needs, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(
    above(0.05),
    beats(nulls.shuffled_pairs),
    beats(nulls.frequency_matched_pairs),
    margin=0.02,
    bad="down",
    needs=(needs.language("relation"), needs.pairs("relation")),
    relation=(*lexicons.relations("plural"), *lexicons.in_languages(lexicons.relations("plural"))),
)
def plural_direction_consistency(
    table: EmbeddingTable, relation: lexicons.Relation, rng: np.random.Generator
) -> Estimate:
    """Plural minus singular offsets point the same way across nouns.

    ``embcheck.measures.offset_consistency`` gives the formula (offset and pairing consistency: Fournier, Dupoux and
    Dunbar 2020); the claim and ten of the pairs are those of the notebook "Word Embeddings: From Tokens to Geometry"
    (2026).
    """
    return measures.offset_consistency(table, relation, rng=rng)
