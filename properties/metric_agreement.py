"""Do cosine and Euclidean distance find the same neighbors?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, claim, measures

if TYPE_CHECKING:
    from embcheck import EmbeddingTable, Estimate


@claim(above(0.5), kind="description", on_noise="any", margin=0.02)
def metric_agreement(table: EmbeddingTable) -> Estimate:
    """Cosine and Euclidean distance rank a token's neighbors alike.

    ``embcheck.measures.metric_agreement`` gives the formula; the comparison is that of the notebook "Word Embeddings:
    From Tokens to Geometry" (2026), section 8c.
    """
    return measures.metric_agreement(table)
