"""Has every token a vector of its own?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import below, claim, measures

if TYPE_CHECKING:
    from embcheck import EmbeddingTable, Estimate


@claim(below(1), on_noise="holds", margin=0.5, bad="up", ladder=())
def duplicate_rows(table: EmbeddingTable) -> Estimate:
    """No two tokens that text can reach have the same vector.

    A model can't tell such tokens apart: rows that were copied, collapsed or never trained
    (``embcheck.measures.equal_rows``).
    """
    return measures.equal_rows(table)
