"""Is the last digit of a number in its vector?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck import beats, claim, measures, needs, nulls

if TYPE_CHECKING:
    import numpy as np

    from embcheck import EmbeddingTable, Estimate


@claim(
    beats(nulls.shuffled_numbers),
    margin=0.05,
    bad="down",
    needs=needs.numbers(),
    readout=("centroids", "waves"),
)
def number_residues(table: EmbeddingTable, readout: str, rng: np.random.Generator) -> Estimate:
    """Numbers that end alike are alike: the nearest centroid tells the last digit; periods 2, 5 and 10 stand out.

    ``embcheck.measures.last_digit_accuracy`` and ``residue_power`` give the formulas (Levy and Geva 2024; Zhou et al.
    2024).
    """
    read = measures.last_digit_accuracy if readout == "centroids" else measures.residue_power
    return read(table, rng=rng)
