"""Do two models place the same words at the same angles to each other?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, beats, claim, measures, needs, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(above(0.05), beats(nulls.shuffled_words), needs=needs.a_vocabulary())
def relative_orientation(tables: tuple[EmbeddingTable, EmbeddingTable], rng: np.random.Generator) -> Estimate:
    """Words that lie close in one model lie close in the other: the cosines of pairs of shared words correlate.

    ``embcheck.measures.relative_orientation`` gives the formula (representational similarity analysis: Kriegeskorte et
    al. 2008; relative representations: Moschella et al. 2023).
    """
    return measures.relative_orientation(tables, rng=rng)
