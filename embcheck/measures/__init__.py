"""Measures: pure functions ``(table, ..., rng) -> Estimate``, or of two ``tables``. One idea a module, loaded late.

``table`` has N population rows of width d; ``rng`` draws the nulls and all else that is random. They raise
`NotMeasurable` where the population has fewer than two rows, and where they say so.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embcheck.measures.cosines.background_cosine import background_cosine
    from embcheck.measures.cosines.gaussian_share import gaussian_share
    from embcheck.measures.cosines.mean_cosine import mean_cosine
    from embcheck.measures.cosines.metric_agreement import metric_agreement
    from embcheck.measures.cosines.negative_share_difference import negative_share_difference
    from embcheck.measures.cosines.non_negative_share import non_negative_share
    from embcheck.measures.geometry.broken_rows import broken_rows
    from embcheck.measures.geometry.constant_length_share import constant_length_share
    from embcheck.measures.geometry.neighbor_count_skewness import neighbor_count_skewness
    from embcheck.measures.geometry.norm_frequency_correlation import norm_frequency_correlation
    from embcheck.measures.geometry.participation_share import participation_share
    from embcheck.measures.geometry.untrained_share import untrained_share
    from embcheck.measures.models.neighbor_overlap import neighbor_overlap
    from embcheck.measures.models.published_deviation import published_deviation
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
    from embcheck.measures.words.last_digit_accuracy import last_digit_accuracy
    from embcheck.measures.words.neighbor_category_share import neighbor_category_share
    from embcheck.measures.words.order_agreement import order_agreement
    from embcheck.measures.words.residue_power import residue_power

__all__ = [
    "analogy_accuracy", "analogy_gain", "analogy_rank", "axis_accuracy", "background_cosine", "broken_rows",
    "category_separation", "circulant_share", "constant_length_share", "first_letter_accuracy",
    "gaussian_share", "last_digit_accuracy", "mean_cosine", "metric_agreement", "middle_men",
    "negative_share_difference", "neighbor_category_share", "neighbor_count_skewness", "neighbor_overlap",
    "non_negative_share", "norm_frequency_correlation", "offset_consistency", "order_agreement",
    "participation_share", "profile_agreement", "published_deviation", "related_pair_auc", "residue_power",
    "surface_variant_auc", "untrained_share",
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
