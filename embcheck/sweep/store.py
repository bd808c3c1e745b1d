"""What a sweep has finished: parts written as they come, each whole or not at all; at the end one Parquet file.

A result is finished under a key (`embcheck.sweep.worker.key_of`), and then never computed again: not by the sweep
that goes on after an interruption, nor for another checkpoint whose tensor and tokens are the same. What is kept are
measurements: verdicts are worked out again from them, under the claims of the day (`embcheck.run.rows.judged_again`).
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Any, Self

import filelock

from embcheck.errors import EmbcheckError, UsageError
from embcheck.reports.series import series_of

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ModuleNotFoundError:
    raise UsageError("sweeps are kept as Parquet, by the extra arrow: pip install 'embcheck[arrow]'") from None

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from embcheck.run.rows import Row

__all__ = ["SCHEMA", "Store", "base_of", "read"]

_TEXT, _NUMBER, _COUNT = pa.string(), pa.float64(), pa.int64()
SCHEMA = pa.schema(
    [
        ("model", _TEXT),
        ("step", _COUNT),
        ("spec", _TEXT),
        ("property", _TEXT),
        ("params", _TEXT),
        ("version", _COUNT),
        ("matrix", _TEXT),
        ("population", _TEXT),
        ("rows", _COUNT),
        ("excluded", _TEXT),
        ("seed", _COUNT),
        ("probes", _TEXT),
        ("dtype", _TEXT),
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
    metadata={"schema": "embcheck-sweep/2"},
)


def read(path: Path) -> list[Row]:
    """The rows of a sweep's Parquet file."""
    try:
        found = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        why = " ".join(str(error).split())[:200]
        raise EmbcheckError(f"{str(path)!r} can't be read as a sweep: {why}") from error
    schema = (found.schema.metadata or {}).get(b"schema")
    if schema == b"embcheck-sweep/1":
        raise EmbcheckError(
            f"{str(path)!r} is of an older embcheck, and says too little of how it measured; sweep anew"
        )
    if found.schema.names != SCHEMA.names or schema != b"embcheck-sweep/2":
        raise EmbcheckError(f"{str(path)!r} is not a sweep; embcheck sweep writes them")
    rows: list[Row] = found.to_pylist()
    return rows


def base_of(table: str) -> str:
    """A table's hashes of weights and tokens, without the checkpoint's mark where its other weights count too."""
    return ":".join(table.split(":")[:2])


class Store:
    """The results of sweeps on disk. Hold it in a ``with`` block: it keeps other sweeps from the same file.

    Shards of one sweep (``is_shared``) keep nobody out: each adds parts, and the sweep that is no shard gathers them.
    """

    def __init__(self, path: Path, *, is_shared: bool = False) -> None:
        """Take up what an earlier sweep left."""
        self.path = path
        self.parts = path.with_name(f"{path.name}.parts")
        self._lock = None if is_shared else filelock.FileLock(self.parts / "lock")
        self._gathered: list[Path] = []
        self.rows: dict[tuple[Any, ...], Row] = {}
        """What the file will have, by series and step."""
        self.finished: dict[str, Row] = {}
        """By key, the row of each finished result."""
        self.tables: dict[str, str] = {}
        """By fingerprint of a checkpoint's files, which table they hold."""

    def __enter__(self) -> Self:
        """Lock the file and read what is there."""
        try:
            self.parts.mkdir(exist_ok=True)
            if self._lock is not None:
                self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise EmbcheckError(
                f"another sweep is writing {str(self.path)!r}; wait for it, or name another --out"
            ) from None
        except OSError as error:
            self.__exit__()
            raise EmbcheckError(f"can't write beside {str(self.path)!r}: {error.strerror or error}") from error
        try:
            self._gathered = sorted(self.parts.glob("*.parquet"), key=lambda part: part.stat().st_mtime_ns)
            for file in ([self.path] if self.path.exists() else []) + self._gathered:
                self._take(read(file))
        except EmbcheckError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Let other sweeps have the file."""
        if self._lock is not None:
            self._lock.release()

    def _take(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.rows[*series_of(row), row["step"]] = row
            if row["verdict"] != "error":  # those are tried again
                self.finished[row["key"]] = row
                if row["fingerprint"]:
                    self.tables[row["fingerprint"]] = base_of(row["table"])

    def add(self, rows: Sequence[Row]) -> None:
        """Keep finished results in a part of their own."""
        self._take(rows)
        self.parts.mkdir(exist_ok=True)  # a sweep that gathered what there was may have removed it
        self._gathered.append(self.parts / f"{secrets.token_hex(8)}.parquet")
        self._write(self._gathered[-1], rows)

    def finish(self, rows: Sequence[Row]) -> list[Row]:
        """Write these rows and what else there is as one file, and remove the parts, but for those that others added.

        A shard leaves that to the sweep that gathers. The rows of the file, in order.

        Raises
        ------
        EmbcheckError
            It can't be written; the parts stay.
        """
        self._take(rows)
        in_order = sorted(self.rows.values(), key=lambda r: (r["model"], r["step"], r["label"], series_of(r)))
        if self._lock is None:
            return in_order
        self._write(self.path, in_order)
        for part in (*self._gathered, self.parts / "lock"):
            with contextlib.suppress(OSError):
                part.unlink()
        with contextlib.suppress(OSError):
            self.parts.rmdir()
        return in_order

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
