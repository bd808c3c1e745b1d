"""Measures: pure functions ``(table, ..., rng) -> Estimate``, or of two ``tables``. One idea a module, loaded late.

``table`` has N population rows of width d; ``rng`` draws the nulls and all else that is random. They raise
`NotMeasurable` where the population has fewer than two rows, and where they say so.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embcheck.measures.cosines.background_cosine import background_cosine
    from embcheck.measures.cosines.coordinate_share import coordinate_share
    from embcheck.measures.cosines.gaussian_share import gaussian_share
    from embcheck.measures.cosines.mean_cosine import mean_cosine
    from embcheck.measures.cosines.metric_agreement import metric_agreement
    from embcheck.measures.cosines.negative_share_difference import negative_share_difference
    from embcheck.measures.cosines.non_negative_share import non_negative_share
    from embcheck.measures.geometry.broken_rows import broken_rows
    from embcheck.measures.geometry.constant_length_share import constant_length_share
    from embcheck.measures.geometry.equal_rows import equal_rows
    from embcheck.measures.geometry.frequency_r2 import frequency_r2
    from embcheck.measures.geometry.kept_neighbors import kept_neighbors
    from embcheck.measures.geometry.neighbor_count_skewness import neighbor_count_skewness
    from embcheck.measures.geometry.norm_frequency_correlation import norm_frequency_correlation
    from embcheck.measures.geometry.participation_share import participation_share
    from embcheck.measures.geometry.untied_rows import untied_rows
    from embcheck.measures.geometry.untrained_share import untrained_share
    from embcheck.measures.models.matrix_alignment import matrix_alignment
    from embcheck.measures.models.neighbor_overlap import neighbor_overlap
    from embcheck.measures.models.published_deviation import published_deviation
    from embcheck.measures.models.relative_orientation import relative_orientation
    from embcheck.measures.neurons.middle_men import middle_men
    from embcheck.measures.neurons.profile_agreement import profile_agreement
    from embcheck.measures.pairs.analogy_accuracy import analogy_accuracy
    from embcheck.measures.pairs.analogy_gain import analogy_gain
    from embcheck.measures.pairs.analogy_rank import analogy_rank
    from embcheck.measures.pairs.offset_consistency import offset_consistency
    from embcheck.measures.pairs.related_pair_auc import related_pair_auc
    from embcheck.measures.pairs.surface_variant_auc import surface_variant_auc
    from embcheck.measures.words.axis_accuracy import axis_accuracy
    from embcheck.measures.words.category_separation import category_separation
    from embcheck.measures.words.circulant_share import circulant_share
    from embcheck.measures.words.first_letter_accuracy import first_letter_accuracy
    from embcheck.measures.words.hierarchy_orthogonality import hierarchy_orthogonality
    from embcheck.measures.words.last_digit_accuracy import last_digit_accuracy
    from embcheck.measures.words.neighbor_category_share import neighbor_category_share
    from embcheck.measures.words.order_agreement import order_agreement
    from embcheck.measures.words.residue_power import residue_power
    from embcheck.measures.words.script_accuracy import script_accuracy

__all__ = [
    "analogy_accuracy", "analogy_gain", "analogy_rank", "axis_accuracy", "background_cosine", "broken_rows",
    "category_separation", "circulant_share", "constant_length_share", "coordinate_share", "equal_rows",
    "first_letter_accuracy", "frequency_r2", "gaussian_share", "hierarchy_orthogonality", "kept_neighbors",
    "last_digit_accuracy", "matrix_alignment", "mean_cosine", "metric_agreement", "middle_men",
    "negative_share_difference", "neighbor_category_share", "neighbor_count_skewness", "neighbor_overlap",
    "non_negative_share", "norm_frequency_correlation", "offset_consistency", "order_agreement",
    "participation_share", "profile_agreement", "published_deviation", "related_pair_auc", "relative_orientation",
    "residue_power", "script_accuracy", "surface_variant_auc", "untied_rows", "untrained_share",
]  # fmt: skip

_FAMILIES = ("cosines", "geometry", "models", "neurons", "pairs", "words")


def __getattr__(name: str) -> Any:
    """Load the module of a measure, which bears its name, when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'embcheck.measures' has no measure {name!r}; there are {', '.join(__all__)}")
    paths = (f"{__name__}.{family}.{name}" for family in _FAMILIES)
    return getattr(importlib.import_module(next(path for path in paths if importlib.util.find_spec(path))), name)


def __dir__() -> list[str]:
    """The measures."""
    return list(__all__)
