"""Do number words, months, weekdays and digits lie in their order?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, beats, claim, lexicons, measures, needs, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(
    above(0.3),
    beats(nulls.shuffled_order),
    margin=0.15,
    bad="down",
    version=2,
    needs=(needs.language("sequence"), needs.words("sequence", 6)),
    sequence=(*lexicons.sequences(), *lexicons.in_languages(lexicons.sequences())),
)
def number_order(table: EmbeddingTable, sequence: lexicons.OrderedWords, rng: np.random.Generator) -> Estimate:
    """The closer two words stand in their order, the larger is their cosine.

    Numbers and digits lie along a line, months and weekdays round a circle. ``embcheck.measures.order_agreement`` gives
    the formula (Spearman's correlation, tested as Mantel 1967 does). The number words from one to ten, and whether
    neighbours among them are more similar than distant ones, are a question of the notebook "Word Embeddings: From
    Tokens to Geometry" (2026).
    """
    return measures.order_agreement(table, sequence, rng=rng)
