"""Duplicate rows: tokens that a model can't tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.estimate import Estimate, measure
from embcheck.measures.kernels.equal import equal_groups

if TYPE_CHECKING:
    from embcheck.table import EmbeddingTable

__all__ = ["equal_rows"]

_GROUPS, _TOKENS = 20, 10  # that are named


@measure
def equal_rows(table: EmbeddingTable) -> Estimate:
    r"""Number of rows whose numbers are those of a row of another token.

    :math:`\#\{i : \exists j,\ x_i = x_j,\ t_i \ne t_j\}` over the population, :math:`t_i` the text of row i: rows of
    one text may be equal. Numbers are equal bit for bit as they are stored, but that 0.0 and -0.0 are; zero and
    non-finite rows are in no population (`broken_rows` counts them). Every row is looked at: exact.
    """
    groups = [group for group in equal_groups(table) if len({table.token(int(r)) for r in group}) > 1]
    groups.sort(key=len, reverse=True)
    count = sum(map(len, groups))
    return Estimate.exact(
        float(count),
        n=len(table.population),
        unit="rows",
        name="rows equal to another token's",
        effect={"name": "share of rows equal to another token's", "value": count / len(table.population)},
        details={
            "groups": len(groups),
            "largest": [
                {
                    "rows": len(group),
                    "ids": group[:_TOKENS].tolist(),
                    "tokens": [table.token(int(row)) for row in group[:_TOKENS]],
                }
                for group in groups[:_GROUPS]
            ],
        },
        counterexamples=[
            {
                "ids": group[:2].tolist(),
                "token": "-".join(table.token(int(row)) for row in group[:2]),
                "rows": len(group),
            }
            for group in groups[:10]
        ],
    )
