"""Did training reach every token?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import below, claim, measures, needs

if TYPE_CHECKING:
    from embcheck import EmbeddingTable, Estimate


@claim(below(0.01), on_noise="any", margin=0.001, bad="up", ladder=(), needs=needs.a_vocabulary(once=True))
def untrained_tokens(table: EmbeddingTable) -> Estimate:
    """Fewer than 1 in 100 known tokens look untouched by training.

    ``embcheck.measures.untrained_share`` says how they are found (after Land and Bartolo, "Fishing for Magikarp",
    2024).
    """
    return measures.untrained_share(table)
