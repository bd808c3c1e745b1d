"""Do common words have longer vectors?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, claim, measures, needs

if TYPE_CHECKING:
    from embcheck import EmbeddingTable, Estimate


@claim(
    above(0),
    margin=0.02,
    version=2,
    ladder=("gaussian", "mean", "covariance", "marginals"),
    needs=needs.a_vocabulary(once=True),
    frequency="id",
)
def frequency_norm(table: EmbeddingTable, frequency: str) -> Estimate:
    """Frequent words have longer vectors than rare ones.

    The row id stands in for frequency; a property of one's own can give a file of counts or ``"wordfreq"``.
    ``embcheck.measures.norm_frequency_correlation`` gives the formula; the claim is that of the notebook "Word
    Embeddings: From Tokens to Geometry" (2026), suggested extensions: "common tokens often have larger norms".
    """
    return measures.norm_frequency_correlation(table, frequency=frequency)
