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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from embcheck import files
from embcheck.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from embcheck.sources.files import JsonObject

COMMIT = re.compile(r"[0-9a-f]{40}")
_STALE_SECONDS = 3600


def cache_root() -> Path:
    """The folder of all that is kept."""
    from huggingface_hub import constants

    own = os.environ.get("EMBCHECK_CACHE", "").strip()
    return Path(own).expanduser() if own else Path(constants.HF_HOME) / "embcheck"


class RepoCache:
    """What is kept of one repository."""

    def __init__(self, repo: str) -> None:
        from huggingface_hub import constants

        folder = "--".join(["models", *repo.split("/")])
        self._path = cache_root() / folder
        self._hub = Path(constants.HF_HUB_CACHE) / folder

    def commit(self, revision: str) -> str | None:
        """The commit that a revision was last seen to be, here or by any other program."""
        if COMMIT.fullmatch(revision):
            return revision
        commit = _read_text(self._path / "refs" / _hash(revision)) or _read_text(self._hub / "refs" / revision)
        return commit if commit and COMMIT.fullmatch(commit) else None

    def keep_commit(self, revision: str, commit: str) -> None:
        """Remember the commit of a revision."""
        _write_text(self._path / "refs" / _hash(revision), commit)

    def files(self, commit: str) -> dict[str, int | None] | None:
        """Names and sizes of a commit's files, ``None`` where they are not known."""
        return _read_json(self._path / commit / "files.json")

    def keep_files(self, commit: str, files: dict[str, int | None]) -> None:
        """Remember the files of a commit."""
        _write_text(self._path / commit / "files.json", json.dumps(files))

    def folders(self, commit: str) -> tuple[Path, ...]:
        """Where what was read of a commit lies."""
        return self._path / commit, self.snapshot(commit)

    def snapshot(self, commit: str) -> Path:
        """Where the ordinary hub cache has the files of a commit."""
        return self._hub / "snapshots" / commit

    def hub_files(self, commit: str) -> dict[str, int | None]:
        """What the ordinary hub cache holds of a commit."""
        snapshot = self.snapshot(commit)
        paths = (path for path in snapshot.rglob("*") if path.is_file())
        return {path.relative_to(snapshot).as_posix(): path.stat().st_size for path in paths}

    def about(self, commit: str, file: str) -> tuple[int, str] | None:
        """Size and ETag of a file, ``None`` where they are not known."""
        about = _read_json(self._path / commit / _hash(file) / "about.json") or {}
        size, etag = about.get("size"), about.get("etag")
        return (size, etag) if isinstance(size, int) and isinstance(etag, str) else None

    def keep_about(self, commit: str, file: str, size: int, etag: str) -> None:
        """Remember the size and ETag of a file."""
        about = json.dumps({"file": file, "size": size, "etag": etag})
        _write_text(self._path / commit / _hash(file) / "about.json", about)

    def ranges(self, commit: str, file: str, etag: str) -> Path:
        """The directory of a file's ranges."""
        return self._path / commit / _hash(file) / _hash(etag)


@contextmanager
def keeping(path: Path, *, cache: str = "EMBCHECK_CACHE") -> Iterator[BinaryIO]:
    """Write a file of the cache, which has its name only once it is whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.sweep(path, older_than=_STALE_SECONDS)
        with files.writing(path, sync=False) as file:
            yield file
    except OSError as error:
        raise SourceError(
            f"cannot write the cache {path.parent} ({error.strerror}); make room, or set another {cache}"
        ) from None


def _write_text(path: Path, text: str) -> None:
    """Keep a text if possible: without it, one more request is made."""
    with suppress(SourceError), keeping(path) as file:
        file.write(text.encode())


def _hash(name: str) -> str:
    """A file name for any text."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _read_text(path: Path) -> str | None:
    try:
        return files.read(path).decode("utf-8").strip()
    except (OSError, ValueError):
        return None


def _read_json(path: Path) -> JsonObject | None:
    """A JSON object, ``None`` where there is none: it will be asked for again."""
    try:
        document = json.loads(_read_text(path) or "null")
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
