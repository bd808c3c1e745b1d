"""Share of non-negative cosines in a Gaussian matrix of the table's shape: does the yardstick itself read 50%?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.estimate import Estimate, Reference, measure
from embcheck.measures.kernels.blocks import full_precision, on_host
from embcheck.measures.kernels.signs import row_totals
from embcheck.progress import track
from embcheck.settings import current

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.table import EmbeddingTable

__all__ = ["gaussian_share", "share_standard_error"]

MAX_PROBES = 1_000
_CELLS, _STEP = 2**21, 1_024  # of a product: 8 MB, or as many rows as make it fast


@measure
def gaussian_share(table: EmbeddingTable, *, rng: np.random.Generator) -> Estimate:
    r"""Mean share of non-negative cosines in an iid standard normal matrix of the population's shape.

    The matrix is generated block by block on the host, so that every device sees the same one, and never held. Its
    first rows serve as probes (rows are exchangeable); each is compared with every other row. Unit: probe rows;
    interval as for the share of a model. The reference ``independence`` is one half with the standard error of
    ``share_standard_error``.
    """
    size, width = len(table.population), table.width
    count = min(current().probe_count(size), MAX_PROBES)
    step = max(count, (16 * 2**20) // (4 * width))
    counted = np.zeros(count)
    probes: Tensor | None = None
    with full_precision():
        for start in track(list(range(0, size, step)), "random baseline"):
            block = rng.standard_normal((min(step, size - start), width), dtype=np.float32)
            rows = torch.from_numpy(block).to(table.vectors.device)
            probes = rows[:count].clone() if probes is None else probes
            for part in torch.split(rows, max(_STEP, _CELLS // count)):
                product = probes @ part.T
                counted += on_host(row_totals(product.numpy() >= 0 if product.device.type == "cpu" else product >= 0))
    counted -= 1  # with itself every probe has a positive one
    return Estimate.from_units(
        counted / (size - 1),
        unit="probe rows",
        over_probes=True,
        labels=[f"seed {current().seed} row {row}" for row in range(count)],
        population=size,
        bounds=(0.0, 1.0),
        name="share of non-negative cosines, Gaussian matrix",
        references={"independence": Reference(0.5, share_standard_error(count, size))},
        details={"rows": size, "width": width},
    )


def share_standard_error(probes: int, size: int) -> float:
    r"""Standard error of the mean share under independence.

    The signs of the cosines of distinct pairs of iid isotropic rows are pairwise uncorrelated, each of variance 1/4.
    Of m probes against N rows, m(N - m) pairs are counted once and m(m - 1)/2 twice, so the mean share over m(N - 1)
    cells has variance :math:`[m(N - m) + 2 m (m - 1)] / [4 m^2 (N - 1)^2]`.
    """
    pairs = probes * (size - probes) + 2 * probes * (probes - 1)
    return math.sqrt(pairs / 4) / (probes * (size - 1))
