"""Tables no row of which is a row of the other: another training run of one recipe, or nothing to do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.diagnosis.explanation import Explanation

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.stats import Ints
    from embcheck.table import EmbeddingTable

__all__ = ["agreement", "explain_agreement"]

TOKENS = 800
ANOTHER_RUN, BY_CHANCE = 0.3, 0.1
"""Agreement from which tables are runs of one recipe, and up to which they are not related."""


def agreement(reference: EmbeddingTable, candidate: EmbeddingTable, source: Ints, rows: Ints) -> float:
    """Correlation of the cosines of all pairs of some tokens in both tables, each from its own mean."""
    cells = []
    for table, ids in ((reference, source[rows]), (candidate, rows)):
        values = table.gather(ids[:TOKENS]).double().cpu()
        cells.append(_cosines(values[:, torch.isfinite(values).all(0)]))
    return float(np.corrcoef(cells[0].numpy(), cells[1].numpy())[0, 1])


def _cosines(values: Tensor) -> Tensor:
    unit = torch.nn.functional.normalize(values - values.mean(0), dim=1)
    above = torch.triu_indices(len(unit), len(unit), offset=1)
    return (unit @ unit.T)[above[0], above[1]]


def explain_agreement(value: float, tokens: int) -> Explanation | str:
    """Another run, unrelated, or in between, in words."""
    parameters = {"agreement": value, "tokens": tokens}
    if value >= ANOTHER_RUN:
        return Explanation(
            "another_run",
            parameters,
            residual=1 - value**2,
            sentence=f"no row is alike, but pairs of tokens are near and far as in the reference (r = {value:.2f})",
            remedy="another training run, seed or initialisation of one recipe: compare by claims about geometry, not "
            "row by row",
        )
    if abs(value) <= BY_CHANCE:
        return Explanation(
            "unrelated",
            parameters,
            residual=1.0,
            sentence=f"the two tables have nothing to do with each other (r = {value:.2f} between cosines of pairs)",
            remedy="check that the files are the ones meant, and that the tokens belong to the rows",
        )
    return f"no row is alike, and pairs of tokens agree a little (r = {value:.2f}): neither another run nor unrelated"
