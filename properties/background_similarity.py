"""Are unrelated tokens nearly orthogonal?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import below, claim, measures

if TYPE_CHECKING:
    from embcheck import EmbeddingTable, Estimate


@claim(below(3), kind="description", on_noise="holds", margin=0.5, version=2)
def background_similarity(table: EmbeddingTable) -> Estimate:
    """Random pairs of tokens are nearly orthogonal: their root mean square cosine is below 3 / sqrt(d).

    ``embcheck.measures.background_cosine`` gives the formula; the claim, 5,000 random pairs and the cosines 0.2 and
    0.5 are those of the notebook "Word Embeddings: From Tokens to Geometry" (2026), section 4.
    """
    return measures.background_cosine(table)
