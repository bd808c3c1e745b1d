"""Broken rows: those that have a token and no direction, which every other measure leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from embcheck.errors import NotMeasurable
from embcheck.estimate import Estimate, measure
from embcheck.table.vocabulary import RowStatus

if TYPE_CHECKING:
    from embcheck.table import EmbeddingTable

__all__ = ["broken_rows"]

_SHOWN = 10


@measure
def broken_rows(table: EmbeddingTable) -> Estimate:
    r"""Number of rows of ordinary tokens that are zero or not finite.

    :math:`\#\{i : |x_i| = 0 \text{ or } |x_i| \notin \mathbb{R}\}` over the rows whose token text can reach, whatever
    the population: damage of this kind is what leaves rows out of it. A length that float32 can't hold counts as not
    finite. Every row is looked at: exact.

    Parameters
    ----------
    table
        V rows of width d, of which those of special, unused and unreachable tokens, and padding, don't count.

    Raises
    ------
    NotMeasurable
        No row has an ordinary token.
    """
    ordinary = table.ordinary
    if not len(ordinary):
        raise NotMeasurable("no row has an ordinary token")
    status = table.status[ordinary]
    zero, other = ordinary[status == RowStatus.ZERO], ordinary[status == RowStatus.NON_FINITE]
    rows = np.sort(np.concatenate([zero, other]))
    return Estimate.exact(
        float(len(rows)),
        n=len(ordinary),
        unit="rows of ordinary tokens",
        name="broken rows",
        effect={"name": "share of broken rows", "value": len(rows) / len(ordinary)},
        details={"zero": len(zero), "not_finite": len(other)},
        counterexamples=[
            {"id": row, "token": table.token(row), "why": "zero" if row in zero else "not finite"}
            for row in rows[:_SHOWN].tolist()
        ],
    )
