"""Do related words look alike to the neurons of a layer, and do single neurons make them so?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, beats, claim, lexicons, measures, needs, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(
    above(0.55),
    beats(nulls.shuffled_pairs),
    margin=0.02,
    bad="down",
    needs=(needs.layers(), needs.pairs("relation")),
    weights=("mlp_in", "mlp_out", "value"),
    layer=0,
    relation=lexicons.related(),
)
def token_neuron_profiles(
    table: EmbeddingTable, weights: str, layer: int, relation: lexicons.Relation, rng: np.random.Generator
) -> Estimate:
    """The products of two related words with a layer's neurons agree more than those of unrelated words.

    ``embcheck.measures.profile_agreement`` gives the formula, and says why no rotation of the neurons' basis can break
    it. The comparison of "lists of dot products between a token and neuron" is that of the notes "Size Comparison
    Congruence". A table without layers is skipped.
    """
    return measures.profile_agreement(table, relation, weights=weights, layer=layer, rng=rng)


@claim(
    above(0.05),
    beats(nulls.shuffled_pairs),
    beats(nulls.rotated_neurons),
    margin=0.1,
    bad="down",
    needs=(needs.layers(), needs.pairs("relation")),
    weights=("mlp_in", "mlp_out"),
    layer=0,
    relation=lexicons.related(),
)
def token_neuron_middle_men(
    table: EmbeddingTable, weights: str, layer: int, relation: lexicons.Relation, rng: np.random.Generator
) -> Estimate:
    """What two related words have in common is carried by fewer neurons than what unrelated words have.

    ``embcheck.measures.middle_men`` gives the formula. "Perhaps it's only certain neurons that are the middle man" is
    the guess of the notes "Size Comparison Congruence".
    """
    return measures.middle_men(table, relation, weights=weights, layer=layer, rng=rng)
