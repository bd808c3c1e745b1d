"""The embedding table: vectors, their tokens, which rows count, and where it all came from."""

from __future__ import annotations

from embcheck.table.provenance import Provenance
from embcheck.table.table import EmbeddingTable
from embcheck.table.vocabulary import Coverage, WordVectors

__all__ = ["Coverage", "EmbeddingTable", "Provenance", "WordVectors"]
