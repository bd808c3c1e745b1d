"""Are rows of one length, and columns of mean zero?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import below, claim, measures

if TYPE_CHECKING:
    from embcheck import EmbeddingTable, Estimate


@claim(below(0.5), kind="description", on_noise="any", margin=0.01, ladder=(), version=2)
def normalization(table: EmbeddingTable) -> Estimate:
    """Most rows are not of one length: an embedding matrix is not stored normalised, to 1 or to any other length.

    Column means, and the share of rows of length 1, are reported beside it. ``embcheck.measures.constant_length_share``
    gives the formula; the claim and both tolerances are those of the notebook "Word Embeddings: From Tokens to
    Geometry" (2026), section 3.
    """
    return measures.constant_length_share(table, tolerance=0.01, mean_tolerance=0.05)
