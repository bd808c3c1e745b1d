"""Does a random matrix read 50%?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import agrees, claim, measures, within

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(
    within(0.49, 0.51),
    agrees("independence", standard_errors=5),
    kind="description",
    on_noise="holds",
    margin=0.01,
    ladder=(),
)
def random_baseline(table: EmbeddingTable, rng: np.random.Generator) -> Estimate:
    """In a Gaussian matrix of the model's shape, half of all pairs have a cosine of zero or more.

    It checks the yardstick, not the model: ``embcheck.measures.gaussian_share`` gives the formula. The share of one
    half is the control of the post "The token embeddings in LLM mostly have positive cosine similarity with each
    other" (2026).
    """
    return measures.gaussian_share(table, rng=rng)
