"""Has every token a vector?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import below, claim, measures

if TYPE_CHECKING:
    from embcheck import EmbeddingTable, Estimate


@claim(below(1), on_noise="holds", margin=0.5, bad="up", ladder=())
def intact_rows(table: EmbeddingTable) -> Estimate:
    """No row of an ordinary token is zero or not finite.

    What is broken is left out of every other property, so that it would pass unseen (see
    ``embcheck.measures.broken_rows``).
    """
    return measures.broken_rows(table)
