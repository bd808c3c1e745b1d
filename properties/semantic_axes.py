"""Is there a direction from male to female, and one from everyday to royal?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, beats, claim, lexicons, measures, needs, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(above(0.6), beats(nulls.random_axes), margin=0.1, bad="down", needs=needs.pairs("axis"), axis=lexicons.axes())
def semantic_axes(table: EmbeddingTable, axis: lexicons.Axis, rng: np.random.Generator) -> Estimate:
    """The axis between two poles tells on which side a word lies that it was not built from.

    ``embcheck.measures.axis_accuracy`` gives the formula; the two axes, the second orthogonal to the first, and the
    negative controls are those of the notebook "Word Embeddings: From Tokens to Geometry" (2026).
    """
    return measures.axis_accuracy(table, axis, rng=rng)
