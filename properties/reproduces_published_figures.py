"""Does a model that the literature gives figures of show them?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import below, claim, measures, published

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(below(1), on_noise="any", applies=published.lists, ladder=())
def reproduces_published_figures(table: EmbeddingTable, rng: np.random.Generator) -> Estimate:
    """The model reproduces published figures: each deviates by less than sampling and rounding allow.

    Only models whose id is listed have this check; ``embcheck list --published`` lists them.
    ``embcheck.measures.published_deviation`` gives the formula.
    """
    return measures.published_deviation(table, rng=rng)
