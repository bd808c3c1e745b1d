"""Do months and weekdays lie round a circle?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import beats, claim, lexicons, measures, needs, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(
    beats(nulls.shuffled_order),
    margin=0.05,
    bad="down",
    needs=needs.words("sequence", 7),
    sequence=lexicons.sequences("months", "weekdays"),
)
def cyclic_order(table: EmbeddingTable, sequence: lexicons.OrderedWords, rng: np.random.Generator) -> Estimate:
    """How similar two months, or weekdays, are depends on how far round the circle they stand from each other.

    ``embcheck.measures.circulant_share`` gives the formula: the centred Gram matrix is closer to a circulant one than
    under other orders (Engels et al. 2024; arXiv 2602.15029).
    """
    return measures.circulant_share(table, sequence, rng=rng)
