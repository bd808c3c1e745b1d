"""Isotropy: do the rows favour a direction, and if so, how?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.errors import NotMeasurable
from embcheck.estimate import Estimate, measure
from embcheck.measures.kernels import blocks, spectrum
from embcheck.measures.resolve import lowest, tokens_part
from embcheck.progress import track
from embcheck.settings import current

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.stats import Floats
    from embcheck.table import EmbeddingTable

__all__ = ["gaussian_mean_cosine", "isoscore", "mean_cosine", "partition_isotropy"]

DRAWS = 9_999
_NOTE = (
    "IsoScore is computed from the covariance and cannot see a shift of the mean; mean cosine and I(W) can. "
    "It equals (PR - 1) / (d - 1), PR the participation ratio of the covariance."
)


@measure
def mean_cosine(table: EmbeddingTable, *, rng: np.random.Generator) -> Estimate:
    r"""Mean cosine over all pairs of rows: anisotropy, as Ethayarajh (2019) calls it.

    With unit rows :math:`u_i` and :math:`R = |\sum_i u_i|` it is :math:`(R^2 - N) / (N (N - 1))`, in O(N d). Every pair
    counts: exact. The null ``gaussian`` has directions uniform on the sphere, and its mean cosine is drawn in closed
    form (``gaussian_mean_cosine``). The effect is the part that goes with the mean vector. Details: I(W) (Mu and
    Viswanath, "All-but-the-top", 2018), IsoScore (Rudman et al. 2022), which cannot see a shift of the mean, and the
    share of the top component, about the mean and about zero.

    Raises
    ------
    NotMeasurable
        Fewer than two rows in the population, or a table of width 1.
    """
    size, width = len(table.population), table.width
    if width < 2:
        raise NotMeasurable("one column has no directions to compare")
    total = blocks.unit_sum(table)
    value = _mean_over_pairs(total, size)
    centred = _mean_over_pairs(blocks.unit_sum(table, blocks.mean_vector(table)), size)
    moments = spectrum.spectrum_of(table)
    row_means = blocks.per_row(table, _products, total.float()).astype(np.float64)
    row_means = (row_means - 1) / (size - 1)
    return Estimate.exact(
        value,
        n=size,
        unit="rows",
        name="mean cosine over all pairs",
        parts=(tokens_part(table, table.population, row_means),),
        effect={"name": "mean cosine of centred rows", "value": centred},
        draws={"gaussian": gaussian_mean_cosine(size, width, current().drawn(DRAWS), rng)},
        details={
            "summary": _NOTE,
            "partition_isotropy": partition_isotropy(table),
            "isoscore": isoscore(moments.centred),
            "top_share": {
                "centred": float(moments.centred[0] / max(moments.centred.sum(), 1e-300)),
                "raw": float(moments.raw[0] / moments.raw.sum()),
            },
            "mean_vector_share": float((moments.mean**2).sum() / moments.raw.sum()),
        },
        counterexamples=lowest(table, table.population, row_means),
    )


def _products(part: EmbeddingTable, vector: Tensor) -> NDArray[np.float32]:
    """(N,) products of the population's unit rows with a vector."""
    with blocks.full_precision():
        vector = vector.to(part.vectors.device)
        return np.asarray(torch.cat([unit @ vector for _, unit in blocks.blocks(part)]).cpu().numpy())


def _mean_over_pairs(total: Tensor, size: int) -> float:
    return (float((total**2).sum()) - size) / (size * (size - 1))


def gaussian_mean_cosine(rows: int, width: int, count: int, rng: np.random.Generator) -> Floats:
    r"""Draws of the mean cosine of N directions uniform on the sphere in d dimensions.

    :math:`d R^2 / N` is close to chi-squared with d degrees of freedom (Mardia and Jupp 2000, section 10.4.1).
    :math:`(\chi^2_d - d) / (d \sqrt{N (N - 1)})` has the mean and variance of the mean cosine exactly.
    """
    return (rng.chisquare(width, size=count) - width) / (width * math.sqrt(rows * (rows - 1)))


def isoscore(eigenvalues: Floats) -> float | None:
    r"""IsoScore of a covariance with these eigenvalues: 1 where all are equal, 0 where one has everything.

    With :math:`\hat\lambda = \sqrt{d} \lambda / |\lambda|` and the defect
    :math:`\delta = |\hat\lambda - 1| / \sqrt{2 (d - \sqrt d)}`, it is
    :math:`((d - \delta^2 (d - \sqrt d))^2 - d) / (d (d - 1))` (Rudman, Gillman, Rayne and Eickhoff, "IsoScore:
    Measuring the Uniformity of Embedding Space Utilization", 2022, section 4). None where there is no variance.
    """
    width, size = len(eigenvalues), float(np.linalg.norm(eigenvalues))
    if not size:
        return None
    normed = math.sqrt(width) * eigenvalues / size
    defect = float(((normed - 1) ** 2).sum()) / (2 * (width - math.sqrt(width)))
    return ((width - defect * (width - math.sqrt(width))) ** 2 - width) / (width * (width - 1))


def partition_isotropy(table: EmbeddingTable) -> float:
    r"""I(W): smallest over largest partition function :math:`Z(c) = \sum_i \exp(c \cdot x_i)`, on raw rows.

    c runs over the unit eigenvectors of :math:`W^\top W`, with both signs, since an eigenvector has none of its own (Mu
    and Viswanath 2018, section 2.2). 1 is isotropic. Summed on a logarithmic scale: long rows overflow nothing.
    """
    axes = spectrum.spectrum_of(table).axes.to(table.accumulator).to(table.vectors.device).float()
    partition = torch.stack(table.over(_partition, axes)).logsumexp(0)
    return math.exp(float(partition.min() - partition.max()))


def _partition(part: EmbeddingTable, axes: Tensor) -> Tensor:
    """(2, d) logarithms of sums over rows of exp of their products with axes, and with their opposites."""
    rows, axes = part.population, axes.to(part.vectors.device)
    logarithms = torch.full((2, part.width), -math.inf, dtype=part.accumulator, device=axes.device)
    with blocks.full_precision():
        for some in track(list(part.slices(len(rows))), "partition function"):
            along = part.gather(rows[some]) @ axes
            both = torch.stack([torch.logsumexp(along, 0), torch.logsumexp(-along, 0)])
            logarithms = torch.logaddexp(logarithms, both.to(part.accumulator))
    return logarithms
