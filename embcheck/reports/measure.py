"""Which measure a result is of: pictures and tables of published figures hang on that, whatever the property is called.

Reports that were written before estimates said their measure have it from the id of a shipped property.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embcheck.checks.record import ResultRecord

__all__ = ["measure_of"]

_OF_SHIPPED = {
    "analogy_gain": "analogy_gain",
    "analogy_rank": "analogy_rank",
    "ascii_anti_alignment": "negative_share_difference",
    "background_similarity": "background_cosine",
    "effective_dimension": "participation_share",
    "frequency_norm": "norm_frequency_correlation",
    "hubness": "neighbor_count_skewness",
    "isotropy": "mean_cosine",
    "metric_agreement": "metric_agreement",
    "nearest_neighbors": "neighbor_category_share",
    "neighbor_overlap": "neighbor_overlap",
    "normalization": "unit_length_share",
    "number_order": "order_agreement",
    "plural_direction_consistency": "offset_consistency",
    "positive_cosine_bias": "non_negative_share",
    "random_baseline": "gaussian_share",
    "related_word_pairs": "related_pair_auc",
    "reproduces_published_figures": "published_deviation",
    "semantic_axes": "axis_accuracy",
    "semantic_categories": "category_separation",
    "untrained_tokens": "untrained_share",
}


def measure_of(result: ResultRecord) -> str:
    """The name of the measure of `embcheck.measures` that made the estimate; empty for one of another's own."""
    return (result.estimate.measure if result.estimate else "") or _OF_SHIPPED.get(result.id, "")
