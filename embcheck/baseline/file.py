"""Baselines: the estimates of an earlier checkpoint, one file a model, against which a new one is compared.

``embcheck-baselines/<alias>.json`` keeps one entry a check, keyed by property and parameters, on a line of its own, and
for each the checkpoint it was measured on. A checksum tells a file that was edited by hand or cut short.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, Struct, structs

from embcheck import files
from embcheck.checks.record import Json, builtins, key_of, label_of, schema_of, strict_json
from embcheck.errors import EmbcheckError
from embcheck.estimate import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Row = Annotated[int, Meta(ge=0)]


class Checkpoint(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
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
    broken_rows: Annotated[
        tuple[tuple[Row, Row], ...] | None,
        Meta(description="And of those of them that were zero or not finite; absent from older files."),
    ] = None

    def __post_init__(self) -> None:
        for runs in (self.known_rows, self.broken_rows or ()):
            ends = [-1, *(end for run in runs for end in run)]
            ascending = all(a < b or (a == b and i % 2) for i, (a, b) in enumerate(itertools.pairwise(ends)))
            if not ascending or ends[-1] >= self.shape[0]:
                raise ValueError(f"runs of rows must ascend, and end before row {self.shape[0]}")

    @property
    def id(self) -> str:
        """A short name for it inside the file."""
        return hashlib.sha256(json.dumps(builtins(self), sort_keys=True).encode()).hexdigest()[:12]


class _Estimated(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: Annotated[str, Meta(min_length=1)] = msgspec.field(name="property")
    params: Json
    version: int
    snapshot: Snapshot | None = msgspec.field(name="estimate")
    """None where it could not be measured; the reason says why."""
    reason: str | None = msgspec.field()

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


SCHEMA = "embcheck-baseline/1"
_WAY_OUT = "restore it from version control, or make it anew with: embcheck baseline update"
_PATIENCE = 60.0
_LARGEST = 256 * 2**20


class _Document(Struct, frozen=True, forbid_unknown_fields=True):
    """The estimates of one model's earlier checkpoint. Written by embcheck only: 'sha256' tells an edited file."""

    alias: Annotated[str, Meta(min_length=1)]
    checkpoints: dict[str, Checkpoint]
    entries: dict[str, StoredEntry]
    schema: Literal["embcheck-baseline/1"]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="Of the rest, as JSON with sorted keys.")]


@dataclass(frozen=True, slots=True)
class Baseline:
    """The entries of one model's file, by key."""

    alias: str
    path: Path
    entries: Mapping[str, Entry] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The file's text, pure ASCII, with a checksum over all of it.

        Each entry has its value on its first line, beside its key; its units, which are long, and where it was measured
        follow on lines of their own.
        """
        checkpoints = {entry.checkpoint.id: builtins(entry.checkpoint) for entry in self.entries.values()}
        entries = {key: builtins(entry) | {"checkpoint": entry.checkpoint.id} for key, entry in self.entries.items()}
        body = {"alias": self.alias, "checkpoints": checkpoints, "entries": entries, "schema": SCHEMA}
        parts = [
            f'"alias": {_line(self.alias)}',
            f'"checkpoints": {_block(checkpoints)}',
            f'"entries": {_block(entries, _lines)}',
            f'"schema": {_line(SCHEMA)}',
            f'"sha256": {_line(_checksum(body))}',
        ]
        return "{\n" + ",\n".join(parts) + "\n}\n"


def path_of(folder: Path, alias: str) -> Path:
    """The file of a model's baseline."""
    return folder / f"{alias}.json"


def load(folder: Path, alias: str) -> Baseline | None:
    """The baseline of a model, ``None`` where it has none; `EmbcheckError` where embcheck did not write its file."""
    path = path_of(folder, alias)
    try:
        text = files.read(path, most=_LARGEST).decode("ascii")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise EmbcheckError(f"baseline {str(path)!r} can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise EmbcheckError(f"baseline {str(path)!r} is no text that embcheck wrote; {_WAY_OUT}") from None
    return _parsed(path, alias, text)


def _parsed(path: Path, alias: str, text: str) -> Baseline:
    try:
        document = strict_json(text)
    except ValueError as error:
        why = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise EmbcheckError(f"baseline {str(path)!r} is cut short or not JSON ({why}); {_WAY_OUT}") from None
    stated = document.get("schema") if isinstance(document, dict) else None
    if stated != SCHEMA:
        raise EmbcheckError(f"baseline {str(path)!r} has schema {str(stated)[:80]!r}, not {SCHEMA!r}; {_WAY_OUT}")
    checksum = _checksum({key: value for key, value in document.items() if key != "sha256"})
    if document.get("sha256") != checksum:
        raise EmbcheckError(
            f"baseline {str(path)!r} was edited by hand: its checksum is not that of its text; {_WAY_OUT}"
        )
    try:
        stored = msgspec.convert(document, _Document)
        entries = {
            key: Entry(**structs.asdict(entry) | {"checkpoint": stored.checkpoints[entry.checkpoint]})
            for key, entry in stored.entries.items()
        }
    except (ValueError, KeyError) as error:
        why = " ".join(str(error).split())[:200]
        raise EmbcheckError(f"baseline {str(path)!r} is malformed ({why}); {_WAY_OUT}") from None
    if stored.alias != alias:
        raise EmbcheckError(f"baseline {str(path)!r} is of the model {stored.alias!r}; {_WAY_OUT}")
    return Baseline(alias, path, entries)


def schema() -> Json:
    """The JSON Schema (2020-12) of the file."""
    return schema_of(_Document, SCHEMA, "embcheck baseline, version 1")


def rewrite(folder: Path, alias: str, change: Callable[[Mapping[str, Entry]], Mapping[str, Entry]]) -> Baseline:
    """Change a model's entries: read again, changed and written under a lock, so that no other update is lost."""
    from filelock import FileLock, Timeout

    path = path_of(folder, alias)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(_lock_file(path), timeout=_PATIENCE):
            old = load(folder, alias)
            entries = change({} if old is None else old.entries)
            new = Baseline(alias, path, dict(sorted(entries.items())))
            files.sweep(path)
            if old is None or old.text != new.text:
                files.replace(path, new.text)
    except Timeout:
        raise EmbcheckError(f"baseline {str(path)!r} is being updated by another process; try again") from None
    except OSError as error:
        raise EmbcheckError(f"can't write baseline {str(path)!r}: {error.strerror or error}") from error
    return new


def _lock_file(path: Path) -> str:
    """A lock that lies outside the project, by the name of the file: a killed process leaves nothing behind in it."""
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    user = getattr(os, "getuid", lambda: 0)()
    return str(Path(tempfile.gettempdir()) / f"embcheck-{user}-{name}.lock")


def _checksum(body: Json) -> str:
    return hashlib.sha256(_line(body).encode("ascii")).hexdigest()


def _line(value: object) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _block(records: Mapping[str, Json], written: Callable[[Json], str] = _line) -> str:
    lines: Sequence[str] = [f" {_line(key)}: {written(records[key])}" for key in sorted(records)]
    return "{\n" + ",\n".join(lines) + "\n}" if lines else "{}"


_SHOWN = ("value", "low", "high", "n", "unit", "exact", "confidence_level", "scale")


def _lines(entry: Json) -> str:
    """An entry: what a reviewer reads, each of its parts' units, and where it was measured."""
    where = _line({key: value for key, value in entry.items() if key != "estimate"}).removeprefix("{")
    estimate = entry["estimate"]
    if estimate is None:
        return f'{{"estimate": null,\n  {where}'
    shown = ", ".join(f"{_line(key)}: {_line(estimate[key])}" for key in _SHOWN)
    parts = ",\n   ".join(map(_line, estimate["parts"]))
    return f'{{"estimate": {{{shown}, "parts": [{parts and f"{chr(10)}   {parts}"}]}},\n  {where}'
