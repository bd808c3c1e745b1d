"""What a sweep has finished: parts written as they come, each whole or not at all; at the end one Parquet file.

A result is finished under a key (`embcheck.sweep.worker.key_of`), and then never computed again: not by the sweep
that goes on after an interruption, nor for another checkpoint whose tensor and tokens are the same.
"""

from __future__ import annotations

import secrets
import shutil
from typing import TYPE_CHECKING, Self

import filelock
import pyarrow as pa
import pyarrow.parquet as pq

from embcheck.errors import EmbcheckError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from embcheck.run.document import Row

__all__ = ["SCHEMA", "Store", "read"]

_TEXT, _NUMBER, _COUNT = pa.string(), pa.float64(), pa.int64()
SCHEMA = pa.schema(
    [
        ("model", _TEXT),
        ("step", _COUNT),
        ("spec", _TEXT),
        ("property", _TEXT),
        ("params", _TEXT),
        ("version", _COUNT),
        ("verdict", _TEXT),
        ("outcome", _TEXT),
        ("estimate", _TEXT),
        ("value", _NUMBER),
        ("low", _NUMBER),
        ("high", _NUMBER),
        ("confidence_level", _NUMBER),
        ("method", _TEXT),
        ("n", _COUNT),
        ("unit", _TEXT),
        ("exact", pa.bool_()),
        ("margin", _NUMBER),
        ("sentence", _TEXT),
        ("claims", _TEXT),
        ("nulls", _TEXT),
        ("reason", _TEXT),
        ("seconds", _NUMBER),
        ("label", _TEXT),
        ("table", _TEXT),
        ("fingerprint", _TEXT),
        ("key", _TEXT),
    ],
    metadata={"schema": "embcheck-sweep/1"},
)


def read(path: Path) -> list[Row]:
    """The rows of a sweep's Parquet file."""
    try:
        found = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        why = " ".join(str(error).split())[:200]
        raise EmbcheckError(f"{str(path)!r} can't be read as a sweep: {why}") from error
    if found.schema.names != SCHEMA.names or (found.schema.metadata or {}).get(b"schema") != b"embcheck-sweep/1":
        raise EmbcheckError(f"{str(path)!r} is not a sweep; embcheck sweep writes them")
    rows: list[Row] = found.to_pylist()
    return rows


class Store:
    """The results of one sweep on disk. Hold it in a ``with`` block: it keeps other sweeps from the same file."""

    def __init__(self, path: Path) -> None:
        """Take up what an earlier sweep left."""
        self.path = path
        self.parts = path.with_name(f"{path.name}.parts")
        self._lock = filelock.FileLock(self.parts / "lock")
        self.finished: dict[str, Row] = {}
        """By key, the row of each finished result."""
        self.known: set[str] = set()
        """Tables that something finished is about."""
        self.tables: dict[str, str] = {}
        """By fingerprint of a checkpoint's files, which table they hold."""

    def __enter__(self) -> Self:
        """Lock the file and read what is there."""
        try:
            self.parts.mkdir(exist_ok=True)
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise EmbcheckError(
                f"another sweep is writing {str(self.path)!r}; wait for it, or name another --out"
            ) from None
        except OSError as error:
            self._lock.release()
            raise EmbcheckError(f"can't write beside {str(self.path)!r}: {error.strerror or error}") from error
        try:
            for file in ([self.path] if self.path.exists() else []) + sorted(self.parts.glob("*.parquet")):
                self._take(read(file))
        except EmbcheckError:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Let other sweeps have the file."""
        self._lock.release()

    def _take(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if row["verdict"] != "error":  # those are tried again
                self.finished.setdefault(row["key"], row)
                self.known.add(row["table"])
                if row["fingerprint"]:
                    self.tables[row["fingerprint"]] = row["table"]

    def add(self, rows: Sequence[Row]) -> None:
        """Keep finished results in a part of their own."""
        self._take(rows)
        self._write(self.parts / f"{secrets.token_hex(8)}.parquet", rows)

    def finish(self, rows: Sequence[Row]) -> None:
        """Write the sweep's rows as one file, and remove the parts.

        Raises
        ------
        EmbcheckError
            It can't be written; the parts stay.
        """
        self._write(self.path, rows)
        shutil.rmtree(self.parts, ignore_errors=True)

    @staticmethod
    def _write(path: Path, rows: Sequence[Row]) -> None:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), temporary)
            temporary.replace(path)
        except OSError as error:
            raise EmbcheckError(f"can't write {str(path)!r}: {error.strerror or error}") from error
        finally:
            temporary.unlink(missing_ok=True)
