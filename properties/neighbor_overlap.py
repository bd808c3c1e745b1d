"""Do two models agree on what is near a token?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import beats, claim, measures, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(beats(nulls.shuffled_alignment))
def neighbor_overlap(tables: tuple[EmbeddingTable, EmbeddingTable], rng: np.random.Generator) -> Estimate:
    """The 20 nearest shared tokens of a token in one model overlap with those in the other more than by chance.

    ``embcheck.measures.neighbor_overlap`` gives the formula; linear CKA (Kornblith et al. 2019) stands beside it. Asked
    for by the notebook "Word Embeddings: From Tokens to Geometry" (2026), suggested extensions.
    """
    return measures.neighbor_overlap(tables, rng=rng)
