"""Are house and House, with and without a leading space, nearly one vector?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, beats, claim, measures, needs, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate
    from embcheck.table.spelling import Variant


@claim(
    above(0.9),
    beats(nulls.shuffled_variants),
    margin=0.02,
    bad="down",
    needs=needs.variants("variant"),
    variant=("case", "space"),
)
def surface_variants(table: EmbeddingTable, variant: Variant, rng: np.random.Generator) -> Estimate:
    """Two tokens of one word, which differ in case or a leading space, are nearer than tokens of different words.

    ``embcheck.measures.surface_variant_auc`` gives the formula. That variants of a word are among its nearest neighbors
    is seen in the lesson "Measuring Similarity in GPT-2".
    """
    return measures.surface_variant_auc(table, variant, rng=rng)
