"""Do neighbors stay when rows are rounded to bytes?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, claim, measures

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(above(0.9), on_noise="any", margin=0.02, bad="down", ladder=(), by="int8")
def compressibility(table: EmbeddingTable, by: str, rng: np.random.Generator) -> Estimate:
    """A token keeps more than nine in ten of its ten nearest rows once every row is rounded to bytes.

    ``embcheck.measures.kept_neighbors`` gives the formula, and in its details what signs and a quarter of the columns
    keep; a property of one's own can claim it of those.
    """
    return measures.kept_neighbors(table, by=by, rng=rng)
