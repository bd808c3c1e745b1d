"""The entries of a baseline: a check's estimate, and the checkpoint that it was measured on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embcheck.checks.record import key_of, label_of
from embcheck.estimate import Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Checkpoint", "Entry"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What an entry was measured on: enough to find the same rows again, and to say which checkpoint it was."""

    spec: str
    revision: str | None
    weights_sha256: str
    tokens_sha256: str
    shape: tuple[int, int]
    dtype: str
    population: str
    known_rows: tuple[tuple[int, int], ...]
    """First and last id of every run of rows that the tokenizer knows."""
    seed: int
    embcheck: str

    @property
    def id(self) -> str:
        """A short name for it inside the file."""
        return hashlib.sha256(json.dumps(self.record, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def record(self) -> dict[str, Any]:
        """The checkpoint as JSON types."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return found | {"shape": list(self.shape), "known_rows": [list(run) for run in self.known_rows]}

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Checkpoint:
        """The checkpoint of its JSON types."""
        rows, width = record["shape"]
        runs = tuple((int(first), int(last)) for first, last in record["known_rows"])
        return cls(**{**record, "shape": (int(rows), int(width)), "known_rows": runs})


@dataclass(frozen=True, slots=True)
class Entry:
    """One check's estimate; ``snapshot`` is none where it could not be measured, ``reason`` says why."""

    name: str
    """The property's id."""
    params: Mapping[str, Any]
    version: int
    checkpoint: Checkpoint
    snapshot: Snapshot | None
    reason: str | None = None

    @property
    def key(self) -> str:
        """Property and parameters."""
        return key_of(self.name, self.params)

    @property
    def label(self) -> str:
        """``analogy_rank[king]``, as a person writes it."""
        return label_of(self.name, self.params)

    @property
    def record(self) -> dict[str, Any]:
        """The entry as JSON types, its checkpoint by its short name."""
        return {
            "property": self.name,
            "params": dict(self.params),
            "version": self.version,
            "checkpoint": self.checkpoint.id,
            "estimate": None if self.snapshot is None else self.snapshot.record,
            "reason": self.reason,
        }

    @property
    def whole(self) -> dict[str, Any]:
        """The entry as JSON types with its checkpoint, as it travels between processes."""
        return self.record | {"checkpoint": self.checkpoint.record}

    @classmethod
    def read(cls, record: Mapping[str, Any], checkpoint: Checkpoint) -> Entry:
        """The entry of its JSON types."""
        estimate = record["estimate"]
        snapshot = None if estimate is None else Snapshot.read(estimate)
        return cls(
            record["property"], dict(record["params"]), record["version"], checkpoint, snapshot, record["reason"]
        )

    @classmethod
    def read_whole(cls, record: Mapping[str, Any]) -> Entry:
        """The entry as it travelled between processes."""
        return cls.read(record, Checkpoint.read(record["checkpoint"]))
