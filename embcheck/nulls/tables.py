"""Nulls that replace the whole table: same tokens, no structure in the vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from embcheck.table import EmbeddingTable

__all__ = ["control_subset", "gaussian"]


def gaussian(
    table: EmbeddingTable, parameters: Mapping[str, Any], rng: np.random.Generator
) -> tuple[EmbeddingTable, Mapping[str, Any]]:
    """Iid standard normal vectors under the table's tokens: directions uniform on the sphere, float32.

    Generated on the host, so that every device sees the same numbers.
    """
    import numpy as np
    import torch

    noise = torch.from_numpy(rng.standard_normal(tuple(table.vectors.shape), dtype=np.float32))
    return table.with_vectors(noise.to(table.vectors.device)), parameters


def control_subset(table: EmbeddingTable, limit: int, parameters: Mapping[str, Any]) -> EmbeddingTable:
    """At most ``limit`` rows of the population: all that a check's words and classes need, then probes."""
    import numpy as np

    from embcheck import lexicons
    from embcheck.vocabulary import TokenKind

    words = [*lexicons.words(), *(w for value in parameters.values() for w in getattr(value, "words", ()))]
    rows = [row for row in table.rows(list(dict.fromkeys(words))) if row is not None]
    classes = [table.of_kind(kind) for kind in (TokenKind.ASCII_CHARACTER, TokenKind.BYTE)]
    ordered = np.concatenate([np.array(rows, dtype=np.int64), *classes, table.probes(limit)])
    _, first = np.unique(ordered, return_index=True)
    chosen = ordered[np.sort(first)][:limit]
    return table.subset(np.sort(chosen))
