"""Both matrices of a model: does a token's row of the output matrix point where its input embedding does?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from embcheck.errors import NotMeasurable
from embcheck.estimate import Estimate, measure
from embcheck.measures.kernels import blocks
from embcheck.measures.resolve import lowest
from embcheck.progress import track
from embcheck.settings import current
from embcheck.stats import permutations
from embcheck.table.layers import output_of

if TYPE_CHECKING:
    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["matrix_alignment"]

DRAWS = 999
BLOCK = 1_000  # probe tokens within which output rows are exchanged: their products are held at once


@measure
def matrix_alignment(table: EmbeddingTable, *, rng: np.random.Generator) -> Estimate:
    r"""Mean cosine of a token's rows in a model's two matrices, the input embedding and the output matrix.

    With E the (V, d) input embedding and U the (V, d) output matrix (unembedding), both read from and written to the
    same residual stream: :math:`\frac{1}{N} \sum_i \cos(E_i, U_i)` over the N rows of the population that have a
    direction in both. One shared direction of either matrix moves it, so it is held against ``shuffled_output``,
    under which it is :math:`\bar e \cdot \bar u` on average, of the mean unit rows. Tying the two is due to Press and
    Wolf, "Using the Output Embedding to Improve Language Models" (2017), who find them different where they are free.

    Unit: probe tokens, in hash order; up to 32,000, or where ``--probes`` says so, all of them, which is exact.
    Interval: Student t with the finite-population correction, or betting. Null: ``shuffled_output``, 999 times. It
    permutes output rows within blocks of 1,000 probe tokens: these permutations form a group, which is all that valid
    p-values need.

    Raises
    ------
    NotMeasurable
        The model has no output matrix of its own, or fewer than two tokens have a direction in both.
    """
    output = output_of(table)
    both = np.intersect1d(table.population, output.with_population("all").population, assume_unique=True)
    probes = table.probes(current().probe_count(len(both)), among=both)
    if len(probes) < 2:
        raise NotMeasurable(f"{len(probes)} tokens have a direction in both matrices; at least 2 are needed")
    units, draws = _compared(table, output, probes, rng)
    return Estimate.from_units(
        units,
        unit="probe tokens",
        over_probes=True,
        population=len(both),
        bounds=(-1.0, 1.0),
        labels=[table.token(int(row)) for row in probes],
        name="cosine of a token's input and output rows",
        effect={"name": "cosine above the shuffled output", "value": float(units.mean() - draws.mean())},
        draws={"shuffled_output": draws},
        details={
            "tokens_with_both": len(both),
            "quantiles": dict(zip(("5%", "50%", "95%"), np.quantile(units, (0.05, 0.5, 0.95)).tolist(), strict=True)),
        },
        counterexamples=lowest(table, probes, units),
    )


def _compared(
    table: EmbeddingTable, output: EmbeddingTable, probes: Ints, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """(n,) cosines of the probes' own rows, and (B,) their means after output rows were exchanged."""
    own, sums = [], np.zeros(current().drawn(DRAWS))
    with blocks.full_precision():
        for start in track(range(0, len(probes), BLOCK), "output rows"):
            rows = probes[start : start + BLOCK]
            cells = (table.units(rows) @ output.units(rows).T).cpu().double().numpy()
            own.append(np.diag(cells))
            orders = permutations.orders(len(rows), len(sums), rng)
            sums += cells[np.arange(len(rows)), orders].sum(1)
    return np.concatenate(own), sums / len(probes)
