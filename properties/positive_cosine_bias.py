"""Are cosines between tokens mostly positive?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, claim, measures

if TYPE_CHECKING:
    from embcheck import EmbeddingTable, Estimate


@claim(above(0.51), margin=0.01)
def positive_cosine_bias(table: EmbeddingTable) -> Estimate:
    """Most pairs of tokens have a cosine of zero or more.

    The bound is the upper edge of the band that random matrices fall into. ``embcheck.measures.non_negative_share``
    gives the formula; the claim is the first of the post "The token embeddings in LLM mostly have positive cosine
    similarity with each other" (2026).
    """
    return measures.non_negative_share(table)
