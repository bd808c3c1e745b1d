"""Nulls: tables or relabellings without the structure in question, on which a property must not hold.

A null maps ``(table, parameters, rng)`` to ``(table, parameters)``, or for properties of two models
``(tables, parameters, rng)`` to ``(tables, parameters)``. A measure that can draw its null much faster than
by being called again does so, and returns the draws under the null's name in ``Estimate.draws``. Nothing heavy is
imported here, so that ``beats(nulls.shuffled_pairs)`` can be declared without torch.
"""

from __future__ import annotations

from embcheck.nulls.labels import (
    frequency_matched_pairs,
    random_axes,
    shuffled_categories,
    shuffled_labels,
    shuffled_order,
    shuffled_pairs,
)
from embcheck.nulls.models import control_subsets, shuffled_alignment
from embcheck.nulls.tables import (
    column_shuffled,
    control_subset,
    gaussian,
    gaussian_like,
    rotated,
    rotated_neurons,
    row_shuffled,
)

__all__ = [
    "column_shuffled", "control_subset", "control_subsets", "frequency_matched_pairs", "gaussian", "gaussian_like",
    "random_axes", "rotated", "rotated_neurons", "row_shuffled", "shuffled_alignment", "shuffled_categories",
    "shuffled_labels", "shuffled_order", "shuffled_pairs",
]  # fmt: skip
