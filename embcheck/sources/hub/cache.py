"""What was read from the hub, kept on disk: commits of revisions, lists of files, and byte ranges of large files.

The ordinary hub cache keeps whole files; this one keeps parts. Everything is keyed by commit, file and ETag, and
written to a temporary file first, so that what has its name is whole::

    EMBCHECK_CACHE or HF_HOME/embcheck
    └── models--org--name
        ├── refs/<revision>               a commit
        └── <commit>
            ├── files.json                names and sizes
            └── <file>                    hashed, as all names that others chose
                ├── about.json            its size and ETag
                └── <ETag>/<start>-<length>
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

__all__ = ["COMMIT", "RepoCache", "writing"]

COMMIT = re.compile(r"[0-9a-f]{40}")
_PART = ".part-"
_STALE_SECONDS = 3600


class RepoCache:
    """What is kept of one repository."""

    def __init__(self, repo: str) -> None:
        from huggingface_hub import constants

        own = os.environ.get("EMBCHECK_CACHE", "").strip()
        root = Path(own).expanduser() if own else Path(constants.HF_HOME) / "embcheck"
        folder = "--".join(["models", *repo.split("/")])
        self._path = root / folder
        self._hub = Path(constants.HF_HUB_CACHE) / folder

    def commit(self, revision: str) -> str | None:
        """The commit that a revision was last seen to be, here or by any other program."""
        if COMMIT.fullmatch(revision):
            return revision
        found = _text(self._path / "refs" / _hashed(revision)) or _text(self._hub / "refs" / revision)
        return found if found and COMMIT.fullmatch(found) else None

    def keep_commit(self, revision: str, commit: str) -> None:
        """Remember the commit of a revision."""
        _write_text(self._path / "refs" / _hashed(revision), commit)

    def files(self, commit: str) -> dict[str, int | None] | None:
        """Names and sizes of a commit's files, ``None`` where they are not known."""
        return _json(self._path / commit / "files.json")

    def keep_files(self, commit: str, files: dict[str, int | None]) -> None:
        """Remember the files of a commit."""
        _write_text(self._path / commit / "files.json", json.dumps(files))

    def hub_files(self, commit: str) -> dict[str, int | None]:
        """What the ordinary hub cache holds of a commit."""
        snapshot = self._hub / "snapshots" / commit
        found = (p for p in snapshot.rglob("*") if p.is_file())
        return {p.relative_to(snapshot).as_posix(): p.stat().st_size for p in found}

    def about(self, commit: str, file: str) -> tuple[int, str] | None:
        """Size and ETag of a file, ``None`` where they are not known."""
        found = _json(self._path / commit / _hashed(file) / "about.json") or {}
        size, etag = found.get("size"), found.get("etag")
        return (size, etag) if isinstance(size, int) and isinstance(etag, str) else None

    def keep_about(self, commit: str, file: str, size: int, etag: str) -> None:
        """Remember the size and ETag of a file."""
        about = json.dumps({"file": file, "size": size, "etag": etag})
        _write_text(self._path / commit / _hashed(file) / "about.json", about)

    def ranges(self, commit: str, file: str, etag: str) -> Path:
        """The directory of a file's ranges."""
        return self._path / commit / _hashed(file) / _hashed(etag)


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that has its name only once it is whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=_PART, delete=False) as part:
            try:
                yield part
                part.close()
                Path(part.name).replace(path)
            finally:
                Path(part.name).unlink(missing_ok=True)
    except OSError as error:
        raise SourceError(
            f"cannot write the cache {path.parent} ({error.strerror}); make room, or set another EMBCHECK_CACHE"
        ) from None


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed have left."""
    for part in folder.glob(f"{_PART}*"):
        with suppress(FileNotFoundError):  # another process does the same
            if part.stat().st_mtime < time.time() - _STALE_SECONDS:
                part.unlink()


def _write_text(path: Path, text: str) -> None:
    """Keep a text if possible: without it, one more request is made."""
    with suppress(SourceError), writing(path) as file:
        file.write(text.encode())


def _hashed(name: str) -> str:
    """A file name for any text."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None


def _json(path: Path) -> dict[str, Any] | None:
    """A JSON object, ``None`` where there is none: it will be asked for again."""
    try:
        found = json.loads(_text(path) or "null")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
