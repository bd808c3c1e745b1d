"""Measures: pure functions ``(table, ..., rng) -> Estimate``, or of two ``tables``. One idea a module, loaded late."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embcheck.measures.accuracy import analogy_accuracy
    from embcheck.measures.agreement import metric_agreement
    from embcheck.measures.analogies import analogy_gain, analogy_rank
    from embcheck.measures.axis import axis_accuracy
    from embcheck.measures.background import background_cosine
    from embcheck.measures.classes import negative_share_difference
    from embcheck.measures.concentration import middle_men
    from embcheck.measures.dimension import participation_share
    from embcheck.measures.frequency import norm_frequency_correlation
    from embcheck.measures.gaussian import gaussian_share
    from embcheck.measures.hubness import neighbor_count_skewness
    from embcheck.measures.isotropy import mean_cosine
    from embcheck.measures.neighbors import neighbor_category_share
    from embcheck.measures.neuron_profiles import profile_agreement
    from embcheck.measures.normalization import unit_length_share
    from embcheck.measures.offsets import offset_consistency
    from embcheck.measures.order import order_agreement
    from embcheck.measures.overlap import neighbor_overlap
    from embcheck.measures.related import related_pair_auc
    from embcheck.measures.reproduction import published_deviation
    from embcheck.measures.separation import category_separation
    from embcheck.measures.shares import non_negative_share
    from embcheck.measures.untrained import untrained_share

_HOME = {
    "analogy_accuracy": "accuracy",
    "analogy_gain": "analogies",
    "analogy_rank": "analogies",
    "axis_accuracy": "axis",
    "background_cosine": "background",
    "category_separation": "separation",
    "gaussian_share": "gaussian",
    "mean_cosine": "isotropy",
    "metric_agreement": "agreement",
    "negative_share_difference": "classes",
    "middle_men": "concentration",
    "neighbor_category_share": "neighbors",
    "neighbor_count_skewness": "hubness",
    "neighbor_overlap": "overlap",
    "non_negative_share": "shares",
    "norm_frequency_correlation": "frequency",
    "offset_consistency": "offsets",
    "order_agreement": "order",
    "participation_share": "dimension",
    "published_deviation": "reproduction",
    "profile_agreement": "neuron_profiles",
    "related_pair_auc": "related",
    "unit_length_share": "normalization",
    "untrained_share": "untrained",
}

__all__ = [
    "analogy_accuracy",
    "analogy_gain",
    "analogy_rank",
    "axis_accuracy",
    "background_cosine",
    "category_separation",
    "gaussian_share",
    "mean_cosine",
    "metric_agreement",
    "middle_men",
    "negative_share_difference",
    "neighbor_category_share",
    "neighbor_count_skewness",
    "neighbor_overlap",
    "non_negative_share",
    "norm_frequency_correlation",
    "offset_consistency",
    "order_agreement",
    "participation_share",
    "profile_agreement",
    "published_deviation",
    "related_pair_auc",
    "unit_length_share",
    "untrained_share",
]


def __getattr__(name: str) -> Any:
    """Load the module of a measure when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(
            f"module 'embcheck.measures' has no measure {name!r}; there are {', '.join(sorted(_HOME))}"
        )
    return getattr(importlib.import_module(f"embcheck.measures.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """The measures."""
    return sorted(__all__)
