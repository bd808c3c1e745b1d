"""Do a few coordinates carry the mean cosine?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, beats, claim, measures, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(above(0.25), beats(nulls.rotated), margin=0.05)
def rogue_dimensions(table: EmbeddingTable, rng: np.random.Generator) -> Estimate:
    """Three coordinates carry more than a quarter of the mean cosine, and more than three of a rotated table do.

    ``embcheck.measures.coordinate_share`` gives the formula (Timkey and van Schijndel 2021).
    """
    return measures.coordinate_share(table, rng=rng)
