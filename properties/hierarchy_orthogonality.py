"""Is what sets a kind apart at right angles to what it is a kind of?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import beats, claim, lexicons, measures, needs, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(
    beats(nulls.random_words, side="below"),
    margin=0.02,
    bad="up",
    needs=needs.kinds("taxonomy"),
    taxonomy=lexicons.taxonomy(),
    inner=("euclidean", "causal"),
)
def hierarchy_orthogonality(
    table: EmbeddingTable, taxonomy: lexicons.Taxonomy, inner: str, rng: np.random.Generator
) -> Estimate:
    """The contrast of a kind (mammal minus animal) is nearer to a right angle with its parent than random words' are.

    ``embcheck.measures.hierarchy_orthogonality`` gives the formula (causal inner product: Park et al. 2024). Random
    words are the null that published values lack.
    """
    return measures.hierarchy_orthogonality(table, taxonomy, inner, rng=rng)
