"""Effective dimension: over how many directions do the rows spread their variance?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.errors import NotMeasurable
from embcheck.estimate import Details, Estimate, measure
from embcheck.measures import histograms
from embcheck.measures.kernels import blocks, spectrum
from embcheck.measures.resolve import listed
from embcheck.settings import current

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.measures.kernels.spectrum import Spectrum
    from embcheck.stats import Floats
    from embcheck.table import EmbeddingTable

__all__ = ["isotropic_participation", "participation_share"]

DRAWS = 9_999
SAMPLE = 1_000  # rows whose weight in the participation ratio is looked at
LEADING = 10
_DRAWN = 60  # components of the scree plot, evenly spaced on a logarithmic scale


@measure
def participation_share(table: EmbeddingTable, *, rng: np.random.Generator) -> Estimate:
    r"""Participation ratio of the covariance's eigenvalues as a share of the width: smaller is narrower.

    :math:`\frac{1}{d} (\sum \lambda)^2 / \sum \lambda^2`, :math:`\lambda` the eigenvalues of the population's
    covariance, so a shift of the mean plays no part. Every row is measured: exact. The null ``random_directions`` has
    rows as far from their mean, in directions uniform on the sphere: a few long rows have most of the variance and
    narrow it, though they favour no direction. It is drawn from moments in closed form (``isotropic_participation``).
    Details: components for 90% of the variance, a scree plot's numbers, entropy rank and participation ratio, about
    the mean and about zero, beside those of Marchenko and Pastur's law.

    Raises
    ------
    NotMeasurable
        A table of width 1, or whose rows are all equal.
    """
    moments, size, width = spectrum.spectrum_of(table), len(table.population), table.width
    if width < 2 or moments.centred.sum() <= 1e-10 * moments.raw.sum():
        raise NotMeasurable("the rows spread in no direction" if width > 1 else "one column has one dimension")
    ratio = spectrum.participation_ratio(moments.centred)
    center = torch.from_numpy(moments.mean).float().to(table.vectors.device)
    apart = blocks.per_row(table, _distances, center)
    return Estimate.exact(
        ratio / width,
        n=size,
        unit="rows",
        name="participation ratio as a share of the width",
        effect={"name": "participation ratio", "value": ratio},
        draws={"random_directions": isotropic_participation(apart, width, current().drawn(DRAWS), rng) / width},
        details={
            "width": width,
            "centred": _dimensions(moments.centred),
            "raw": _dimensions(moments.raw),
            "marchenko_pastur": {
                **_dimensions(spectrum.marchenko_pastur(size, width)),
                "participation_ratio": width / (1 + width / size),
            },
            "scree": _scree(moments.centred, size),
            "leading_shares": (moments.centred[:LEADING] / moments.centred.sum()).tolist(),
            "top_component": _poles(table, moments),
        },
        counterexamples=_spreading(table, moments),
    )


def _distances(part: EmbeddingTable, center: Tensor) -> Floats:
    return blocks.distances(part, part.population, center.to(part.vectors.device))


def _along(part: EmbeddingTable, axis: Tensor) -> Floats:
    """(N,) products of the population's rows with an axis."""
    rows, axis = part.population, axis.to(part.vectors.device)
    products = [part.gather(rows[some]) @ axis for some in part.slices(len(rows))]
    return np.asarray(torch.cat(products).cpu().double().numpy())


def isotropic_participation(lengths: Floats, width: int, count: int, rng: np.random.Generator) -> Floats:
    r"""Draws of the participation ratio of rows of these lengths in iid directions uniform on the sphere.

    With :math:`w_i = r_i^2` it is :math:`(\sum w)^2 / (\sum w^2 + \sum_{i \ne j} w_i w_j \cos^2_{ij})`. Each squared
    cosine is :math:`\mathrm{Beta}(1/2, (d - 1)/2)`, and any two of them are independent, so that mean, variance and
    third moment of the sum are exact: a Pearson III variable has these three, and for equal lengths it is the
    chi-squared variable with :math:`d (d + 1) / 2 - 1` degrees of freedom that John's statistic comes to (Ledoit and
    Wolf, "Some hypothesis tests for the covariance matrix when the dimension is large compared to the sample size",
    2002). Rows about their own mean sum to zero: two of them have the product :math:`-(w_i + w_j - \bar w) / N` on
    average, whose square adds to the sum; it is of weight where N is not large beside d.
    """
    from scipy import stats  # not with the module: workers, whose memory is counted, have its passes and none of this

    weights = (lengths / lengths.max()) ** 2
    first, second, third, fourth, sixth = (float((weights**power).sum()) for power in (1, 2, 3, 4, 6))
    squared_cosine = stats.beta(0.5, (width - 1) / 2)
    spread, skewness = float(squared_cosine.var()), float(squared_cosine.stats("s"))
    freedom, rows = (width**2 + width - 2) / 2, len(lengths)
    centring = (2 * (rows - 2) * (second - 0.75 * first**2 / rows) + first**2 / 2) / rows**2
    mean = second + (first**2 - second) / width + centring * 2 * freedom / width**2
    variance = 2 * (second**2 - fourth)  # in units of spread; the sum has each pair of rows twice
    of_pairs, of_triples = third**2 - sixth, second**3 - 3 * second * fourth + 2 * sixth
    cubes = 4 * skewness * of_pairs + 8 / math.sqrt(freedom) * of_triples
    deviations = stats.pearson3.rvs(cubes / variance**1.5, size=count, random_state=rng)
    return np.asarray(first**2 / (mean + math.sqrt(variance * spread) * deviations))


def _scree(eigenvalues: Floats, rows: int) -> dict[str, list[float]]:
    """Shares of the variance of up to 60 components, and those of noise of the same shape."""
    width = len(eigenvalues)
    spaced = np.geomspace(1, width, _DRAWN).round() if width > _DRAWN else np.arange(1, width + 1)
    places = np.unique(spaced.astype(np.int64))
    noise = spectrum.marchenko_pastur(rows, width)
    return {
        "component": places.tolist(),
        "share": histograms.rounded(eigenvalues[places - 1] / eigenvalues.sum()),
        "noise": histograms.rounded(noise[places - 1] / noise.sum()),
    }


def _dimensions(eigenvalues: Floats) -> Details:
    return {
        "components_90": spectrum.needed_for(eigenvalues, 0.9),
        "participation_ratio": spectrum.participation_ratio(eigenvalues),
        "entropy_rank": spectrum.entropy_rank(eigenvalues),
        "top_share": float(eigenvalues[0] / eigenvalues.sum()),
    }


def _poles(table: EmbeddingTable, moments: Spectrum) -> dict[str, list[Details]]:
    """Tokens at either end of the leading component, in standard deviations; which end is which is arbitrary."""
    rows, scores = table.population, blocks.per_row(table, _along, moments.leading.float())
    scores = (scores - moments.mean @ moments.leading.numpy()) / math.sqrt(moments.centred[0])
    order = np.argsort(scores, kind="stable")
    ends = {"low": order[:LEADING], "high": order[::-1][:LEADING]}
    return {end: listed(table, rows[chosen], value=scores[chosen]) for end, chosen in ends.items()}


def _spreading(table: EmbeddingTable, moments: Spectrum) -> list[Details]:
    r"""Of 1,000 tokens, those that weigh most against the claim: without them the participation ratio would be lower.

    To first order a row x about the mean raises its logarithm by
    :math:`\frac{2}{N} (|x|^2 / \sum\lambda - x^\top \Sigma x / \sum\lambda^2)`.
    """
    rows = table.probes(SAMPLE)
    x = table.gather(rows).cpu().double() - torch.from_numpy(moments.mean)
    own = (x**2).sum(1) / moments.centred.sum()
    along = ((x @ moments.covariance) * x).sum(1) / (moments.centred**2).sum()
    weight = (2 / len(table.population) * (own - along)).numpy()
    order = np.argsort(-weight, kind="stable")[:10]
    return listed(table, rows[order], raises_log_ratio_by=weight[order])
