"""Do a model's input and output matrix place a token alike?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, beats, claim, measures, needs, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(above(0.02), beats(nulls.shuffled_output), margin=0.02, needs=needs.output())
def matrix_alignment(table: EmbeddingTable, rng: np.random.Generator) -> Estimate:
    """A token's row of the output matrix points more where its input embedding does than other tokens' rows do.

    ``embcheck.measures.matrix_alignment`` gives the formula (tied and untied matrices: Press and Wolf 2017). Asked only
    of models that have both matrices, and untied.
    """
    return measures.matrix_alignment(table, rng=rng)
