"""Tied matrices: is the output matrix what the model says it is, the input embedding?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.errors import NotMeasurable
from embcheck.estimate import Estimate, measure

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.stats import Floats
    from embcheck.table import EmbeddingTable

__all__ = ["untied_rows"]

_SHOWN = 10
_BLOCK = 2**22  # numbers compared at once


@measure
def untied_rows(table: EmbeddingTable) -> Estimate:
    r"""Number of rows in which the output matrix of a model differs from the input embedding, which it says it is.

    :math:`\#\{i : u_i \ne x_i\}`, u the output matrix and x the input embedding, number for number, as both are stored,
    whatever rows the population has; a NaN in both is no difference, and rows that one of them has beyond the other
    differ. 0 where the files hold one matrix for both. Every row is compared: exact. A model in whose files another
    output matrix lies is read as tied by some programs, and as it lies there by others.

    Raises
    ------
    NotMeasurable
        The table belongs to no model that says so (`embcheck.needs.tied_output`), or the output matrix is quantized.
    """
    if table.layers is None or not table.layers.has_tied_output:
        raise NotMeasurable("the table is not the input embedding of a model that says its output matrix is the same")
    stored = table.vectors if table.provenance.weights is None else table.provenance.weights
    output = table.layers.tied_output()
    apart = np.zeros(len(stored)) if output is None else _differences(stored, output)
    rows = np.flatnonzero(apart > 0)
    worst = rows[np.argsort(-apart[rows], kind="stable")[:_SHOWN]]
    return Estimate.exact(
        float(len(rows)),
        n=len(apart),
        unit="rows",
        name="rows of the output matrix unlike the input embedding's",
        effect={"name": "share of rows unlike the input embedding's", "value": len(rows) / len(apart)},
        details={"stored_once": output is None},
        counterexamples=[
            {"id": row, "difference": float(apart[row])}
            | ({"token": table.token(row)} if len(table.vectors) == len(stored) else {})
            for row in worst.tolist()
            if np.isfinite(apart[row])
        ],
    )


def _differences(x: Tensor, u: Tensor) -> Floats:
    """The largest difference in each row, 0 where all numbers are equal, infinite where a number is there but once."""
    rows = max(len(x), len(u))
    apart = np.full(rows, np.inf)
    common = min(len(x), len(u)) if x.shape[1] == u.shape[1] else 0
    step = max(1, _BLOCK // x.shape[1])
    for start in range(0, common, step):
        part = slice(start, min(start + step, common))
        a, b = x[part].detach().cpu().double(), u[part].detach().cpu().double()
        is_equal = (a == b) | (a.isnan() & b.isnan())
        difference = (a - b).abs().nan_to_num(torch.inf, torch.inf).masked_fill(is_equal, 0)
        apart[part] = difference.amax(1).numpy()
    return apart
