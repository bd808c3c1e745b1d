"""Do the rows point in some directions more than in others?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, beats, claim, measures, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(above(0.005), beats(nulls.gaussian), margin=0.01)
def isotropy(table: EmbeddingTable, rng: np.random.Generator) -> Estimate:
    """Rows share a direction: their mean cosine is larger than that of noise of the same shape.

    ``embcheck.measures.mean_cosine`` gives the formula (anisotropy: Ethayarajh 2019; I(W): Mu and Viswanath 2018;
    IsoScore: Rudman et al. 2022).
    """
    return measures.mean_cosine(table, rng=rng)
