"""Baselines: the estimates of an earlier checkpoint, one file a model, against which a new one is compared.

``embcheck-baselines/<alias>.json`` keeps one entry a check, keyed by property and parameters, on a line of its own, and
for each the checkpoint it was measured on. A checksum tells a file that was edited by hand or cut short.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embcheck import files
from embcheck.baseline.entries import Checkpoint, Entry
from embcheck.errors import EmbcheckError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["SCHEMA", "Baseline", "load", "path_of", "rewrite", "schema"]

SCHEMA = "embcheck-baseline/1"
_FAULTS = (KeyError, TypeError, ValueError, AttributeError)
_WAY_OUT = "restore it from version control, or make it anew with: embcheck baseline update"
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """The entries of one model's file, by key."""

    alias: str
    path: Path
    entries: Mapping[str, Entry] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The file's text: sorted keys, one line an entry, pure ASCII, with a checksum over all of it."""
        checkpoints = {entry.checkpoint.id: entry.checkpoint.record for entry in self.entries.values()}
        entries = {key: entry.record for key, entry in self.entries.items()}
        body = {"alias": self.alias, "checkpoints": checkpoints, "entries": entries, "schema": SCHEMA}
        parts = [
            f'"alias": {_line(self.alias)}',
            f'"checkpoints": {_block(checkpoints)}',
            f'"entries": {_block(entries)}',
            f'"schema": {_line(SCHEMA)}',
            f'"sha256": {_line(_checksum(body))}',
        ]
        return "{\n" + ",\n".join(parts) + "\n}\n"


def path_of(folder: Path, alias: str) -> Path:
    """The file of a model's baseline."""
    return folder / f"{alias}.json"


def load(folder: Path, alias: str) -> Baseline | None:
    """The baseline of a model, ``None`` where it has none.

    Raises
    ------
    EmbcheckError
        The file can't be read, is cut short, was edited by hand, or is of another format.
    """
    path = path_of(folder, alias)
    try:
        text = path.read_text(encoding="ascii")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise EmbcheckError(f"baseline {str(path)!r} can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise EmbcheckError(f"baseline {str(path)!r} is no text that embcheck wrote; {_WAY_OUT}") from None
    return _parsed(path, alias, text)


def _parsed(path: Path, alias: str, text: str) -> Baseline:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise EmbcheckError(
            f"baseline {str(path)!r} is cut short or not JSON (line {error.lineno}: {error.msg}); {_WAY_OUT}"
        ) from None
    found = document.get("schema") if isinstance(document, dict) else None
    if found != SCHEMA:
        raise EmbcheckError(f"baseline {str(path)!r} has schema {found!r}, not {SCHEMA!r}; {_WAY_OUT}")
    if document.get("sha256") != _checksum({k: v for k, v in document.items() if k != "sha256"}):
        raise EmbcheckError(
            f"baseline {str(path)!r} was edited by hand: its checksum is not that of its text; {_WAY_OUT}"
        )
    if document.get("alias") != alias:
        raise EmbcheckError(f"baseline {str(path)!r} is of the model {document.get('alias')!r}; {_WAY_OUT}")
    try:
        checkpoints = {name: Checkpoint.read(record) for name, record in document["checkpoints"].items()}
        entries = {
            key: Entry.read(record, checkpoints[record["checkpoint"]]) for key, record in document["entries"].items()
        }
    except _FAULTS as error:
        raise EmbcheckError(
            f"baseline {str(path)!r} is malformed ({type(error).__name__}: {error}); {_WAY_OUT}"
        ) from None
    return Baseline(alias, path, entries)


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the file."""
    text = (
        importlib.resources.files(__package__).joinpath("embcheck-baseline-1.schema.json").read_text(encoding="utf-8")
    )
    found: dict[str, Any] = json.loads(text)
    return found


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


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(_line(body).encode("ascii")).hexdigest()


def _line(value: object) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _block(records: Mapping[str, Mapping[str, Any]]) -> str:
    lines: Sequence[str] = [f" {_line(key)}: {_line(records[key])}" for key in sorted(records)]
    return "{\n" + ",\n".join(lines) + "\n}" if lines else "{}"
