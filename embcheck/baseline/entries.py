"""The entries of a baseline: a check's estimate, and the checkpoint that it was measured on."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from embcheck.checks.record import builtins, key_of, label_of
from embcheck.estimate import Snapshot

__all__ = ["Checkpoint", "Entry", "StoredEntry"]

Row = Annotated[int, Meta(ge=0)]


class Checkpoint(Struct, frozen=True, forbid_unknown_fields=True):
    """What an entry was measured on: enough to find the same rows again, and to say which checkpoint it was."""

    spec: str
    revision: str | None
    weights_sha256: str
    tokens_sha256: str
    shape: tuple[Row, Row]
    dtype: str
    population: Literal["known", "all"]
    known_rows: Annotated[
        tuple[tuple[Row, Row], ...],
        Meta(description="First and last id of every run of rows that the tokenizer knows."),
    ]
    seed: Annotated[int, Meta(ge=0)]
    embcheck: str

    @property
    def id(self) -> str:
        """A short name for it inside the file."""
        return hashlib.sha256(json.dumps(builtins(self), sort_keys=True).encode()).hexdigest()[:12]


class _Estimated(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: Annotated[str, Meta(min_length=1)] = field(name="property")
    params: dict[str, Any]
    version: int
    snapshot: Snapshot | None = field(name="estimate")
    """None where it could not be measured; the reason says why."""
    reason: str | None = field()

    @property
    def key(self) -> str:
        """Property and parameters."""
        return key_of(self.id, self.params)

    @property
    def label(self) -> str:
        """``analogy_rank[king]``, as a person writes it."""
        return label_of(self.id, self.params)


class Entry(_Estimated, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One check's estimate, with the checkpoint that it is of."""

    checkpoint: Checkpoint


class StoredEntry(_Estimated, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One check's estimate as the file has it."""

    checkpoint: Annotated[str, Meta(description="Key of 'checkpoints'.")]
