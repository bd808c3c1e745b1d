"""What tokens are by their spelling, for the properties that ask about it: whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embcheck.table.table import EmbeddingTable

    Ints = NDArray[np.int64]

__all__ = ["NUMBERS", "numbers"]

NUMBERS = 1_000


def numbers(table: EmbeddingTable) -> tuple[Ints, Ints]:
    """The whole numbers from 0 to 999 that are one token, and their rows, (n,) each; found once a table."""
    if "numbers" not in table.memo:
        rows = table.rows([str(number) for number in range(NUMBERS)])
        known = [number for number, row in enumerate(rows) if row is not None]
        table.memo["numbers"] = np.array([known, [rows[number] for number in known]], dtype=np.int64)
    values, rows_of = table.memo["numbers"]
    return values, rows_of
