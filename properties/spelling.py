"""Do vectors of words know how the words are spelled?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import above, beats, claim, measures, needs, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(above(0.15), beats(nulls.shuffled_spellings), margin=0.05, bad="down", needs=needs.stems())
def spelling(table: EmbeddingTable, rng: np.random.Generator) -> Estimate:
    """The first letter of a word can be read from its vector, linearly, without having seen a word of its stem.

    The bound lies above the share of the most frequent letter. ``embcheck.measures.first_letter_accuracy`` gives the
    formula (Kaushal and Mahowald 2022, arXiv 2206.02608; arXiv 2506.10641).
    """
    return measures.first_letter_accuracy(table, rng=rng)
