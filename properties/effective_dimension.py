"""Do the rows use fewer dimensions than there are columns?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import beats, below, claim, measures, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(below(0.9), beats(nulls.random_directions, side="below"), margin=0.01, version=2)
def effective_dimension(table: EmbeddingTable, rng: np.random.Generator) -> Estimate:
    """The rows' variance lies in fewer directions than there are columns, and than their lengths alone would leave.

    ``embcheck.measures.participation_share`` gives the formula (participation ratio; Marchenko and Pastur 1967); the
    components for 90% of the variance are asked for by the notebook "Word Embeddings: From Tokens to Geometry" (2026),
    suggested extensions.
    """
    return measures.participation_share(table, rng=rng)
