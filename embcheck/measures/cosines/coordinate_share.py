"""Rogue dimensions: do a few coordinates carry the mean cosine?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from embcheck.errors import NotMeasurable
from embcheck.estimate import Estimate, measure
from embcheck.measures.kernels import blocks
from embcheck.settings import current

if TYPE_CHECKING:
    from embcheck.stats import Floats
    from embcheck.table import EmbeddingTable

__all__ = ["coordinate_share", "uniform_share"]

TOP, LISTED, DRAWS = 3, 10, 9_999
_ROUNDING = 1e-12  # of a squared mean: unit rows that cancel leave rounding


@measure
def coordinate_share(table: EmbeddingTable, *, rng: np.random.Generator) -> Estimate:
    r"""Share of the mean cosine that the three coordinates which add most to it carry.

    The mean cosine over all pairs of rows, each with itself among them, is :math:`\sum_k \bar u_k^2`, :math:`\bar u_k`
    the mean of coordinate k over the N unit rows; the estimate is the share of the three largest terms. Every row
    counts: exact. It lies between 3 / d and 1. The null ``rotated`` turns the coordinates: :math:`\bar u` then has a
    uniform direction, whose share is drawn in closed form (``uniform_share``). The effect is the mean cosine itself,
    without which the share says little. Timkey and van Schijndel, "All Bark and No Bite: Rogue Dimensions in
    Transformer Language Models Obscure Representational Quality" (2021), who sample pairs; here all are counted.

    Raises
    ------
    NotMeasurable
        Fewer than 4 columns, fewer than two rows in the population, or unit rows that cancel.
    """
    width, size = table.width, len(table.population)
    if width <= TOP:
        raise NotMeasurable(f"the table has {width} columns; more than {TOP} are needed")
    means = blocks.unit_sum(table).cpu().double().numpy() / size
    terms = means**2
    total = float(terms.sum())
    if total <= _ROUNDING:
        raise NotMeasurable("the unit rows cancel: there is no mean cosine to share")
    order = np.argsort(-terms, kind="stable")
    rest = total - float(terms[order[:TOP]].sum())
    return Estimate.exact(
        1 - rest / total,
        n=width,
        unit="coordinates",
        name=f"share of the mean cosine that {TOP} coordinates carry",
        effect={"name": "mean cosine, each row with itself among the pairs", "value": total},
        draws={"rotated": uniform_share(width, current().drawn(DRAWS), rng)},
        details={
            "without_them": rest,
            "expected_if_even": TOP / width,
            "coordinates": [
                {"coordinate": int(k), "share": float(terms[k] / total), "mean": float(means[k])}
                for k in order[:LISTED]
            ],
        },
    )


def uniform_share(width: int, count: int, rng: np.random.Generator) -> Floats:
    """(count,) draws of the share of its squared length that a uniform direction has in its three largest entries."""
    shares = np.empty(count)
    step = max(1, 2**22 // width)
    for start in range(0, count, step):
        squared = rng.standard_normal((min(step, count - start), width)) ** 2
        shares[start : start + step] = np.partition(squared, -TOP, axis=1)[:, -TOP:].sum(1) / squared.sum(1)
    return shares
