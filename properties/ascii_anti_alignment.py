"""Do single characters point away from the rest of the vocabulary?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, beats, claim, measures, needs, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(
    above(0.02),
    beats(nulls.shuffled_labels),
    margin=0.02,
    needs=needs.token_class(),
    token_class=("ascii", "byte", "control"),
)
def ascii_anti_alignment(table: EmbeddingTable, token_class: str, rng: np.random.Generator) -> Estimate:
    """ASCII characters (raw bytes, control characters) have more negative cosines than other tokens of their length.

    ``embcheck.measures.negative_share_difference`` gives the formula; the observation is the second of the post "The
    token embeddings in LLM mostly have positive cosine similarity with each other" (2026), whose ids 0 to 92 were
    negative with almost every token.
    """
    return measures.negative_share_difference(table, token_class, rng=rng)
