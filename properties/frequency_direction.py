"""Does a direction of the vectors say how frequent a word is?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, claim, measures, needs

if TYPE_CHECKING:
    from embcheck import EmbeddingTable, Estimate


RUNGS = ("gaussian", "mean", "covariance", "marginals", "lengths", "spelling")  # what keeps frequency explains nothing


@claim(above(0.3), margin=0.03, ladder=RUNGS, needs=needs.a_vocabulary(once=True), frequency="id")
def frequency_direction(table: EmbeddingTable, frequency: str) -> Estimate:
    """A linear map of the vectors predicts the log frequency of words that it was not fitted to.

    The row id stands in for frequency; a property of one's own can give a file of counts or ``"wordfreq"``.
    ``embcheck.measures.frequency_r2`` gives the formula (arXiv 2406.01468).
    """
    return measures.frequency_r2(table, frequency=frequency)
