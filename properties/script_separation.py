"""Does a row tell in which script its token is written?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, beats, claim, measures, needs, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(above(0.6), beats(nulls.shuffled_scripts), margin=0.05, bad="down", needs=needs.scripts(3, 50))
def script_separation(table: EmbeddingTable, rng: np.random.Generator) -> Estimate:
    """Tokens of different writing systems lie apart: most are nearest to the mean of their own script's.

    ``embcheck.measures.script_accuracy`` gives the formula.
    """
    return measures.script_accuracy(table, rng=rng)
