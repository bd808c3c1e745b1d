"""Are there hubs?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import beats, claim, measures, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(beats(nulls.gaussian), margin=0.1)
def hubness(table: EmbeddingTable, rng: np.random.Generator) -> Estimate:
    """Some tokens stand in the neighbor lists of far more others than in noise of the same width.

    ``embcheck.measures.neighbor_count_skewness`` gives the formula (Radovanovic, Nanopoulos and Ivanovic 2010); asked
    for by the notebook "Word Embeddings: From Tokens to Geometry" (2026), suggested extensions.
    """
    return measures.neighbor_count_skewness(table, rng=rng)
