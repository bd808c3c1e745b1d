"""Parts of a file behind HTTP, by byte ranges: only what is asked for is moved, once, and kept on disk."""

from __future__ import annotations

import re
import shutil
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha1, sha256
from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError
from embcheck.progress import track
from embcheck.sources.files import LocalBytes
from embcheck.sources.hub.cache import keeping
from embcheck.sources.hub.errors import UnreachableError, offline_error, translate_errors, within

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_BLOCK = 32 * 2**10  # what small reads are rounded up to: a header comes in one request
_CHUNK = 32 * 2**20
_PIECE = 2**16
_MIB = 2**20
_RETRIES = 5  # in a row without a byte
_LONGEST_WAIT = 8.0
_PATIENCE = 60.0  # seconds without a byte, or before too few have come
_SLOWEST = 1024  # bytes a second
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on the hub at one commit."""

    repo: str
    file: str
    url: str
    size: int
    etag: str
    online: bool

    @property
    def name(self) -> str:
        """What it is called in error messages."""
        return f"{self.repo}/{self.file}"


class HttpBytes:
    """A remote file as random access. What was read is kept in a directory, and never moved again."""

    def __init__(self, remote: Remote, cache: Path) -> None:
        self.name = remote.name
        self.size = remote.size
        self._remote = remote
        self._cache = cache
        self._kept: dict[tuple[int, int], LocalBytes] = {}

    def read(self, start: int, length: int) -> memoryview:
        """Exactly ``length`` bytes from ``start``, memory-mapped."""
        if start < 0 or length < 0 or start + length > self.size:
            raise SourceError(
                f"{self.name} is malformed: it has {self.size} bytes, {start + length} are needed; tell its owner"
            )
        if length > _BLOCK or not length:
            return self._range(start, length)
        first = start // _BLOCK * _BLOCK
        last = min(self.size, -(-(start + length) // _BLOCK) * _BLOCK)
        return self._range(first, last - first)[start - first : start - first + length]

    def _range(self, start: int, length: int) -> memoryview:
        if not length:
            return memoryview(b"")
        if (start, length) not in self._kept:
            path = self._cache / f"{start}-{length}"
            if not path.is_file() or path.stat().st_size != length:
                self._download(start, length, path)
            self._kept[start, length] = LocalBytes(path, final=True)
        return self._kept[start, length].read(0, length)

    def _download(self, start: int, length: int, path: Path) -> None:
        with keeping(path) as file:
            if (free := shutil.disk_usage(path.parent).free) < length:
                raise SourceError(
                    f"{self.name}: {length} bytes are to be kept in {path.parent}, where {free} are free; "
                    "make room, or set EMBCHECK_CACHE to another place"
                )

            def mebibytes() -> Iterator[int]:
                written = 0
                is_whole = (start, length) == (0, self.size)
                for piece in (
                    download_whole(self._remote) if is_whole else download(self._remote, start, start + length)
                ):
                    file.write(piece)
                    before, written = written, written + len(piece)
                    yield from range(before // _MIB, written // _MIB)

            for _ in track(mebibytes(), f"{self.name}, MiB", total=length // _MIB):
                pass


def download_whole(remote: Remote) -> Iterator[bytes]:
    """All bytes of a file, which must be those of the hash that its ETag is, if it is one.

    The hub gives SHA-256 of large files and git's own SHA-1 of others; some mirrors give the SHA-1 of the content.
    """
    large, git, plain = sha256(), sha1(b"blob %d\0" % remote.size, usedforsecurity=False), sha1(usedforsecurity=False)
    for piece in download(remote, 0, remote.size):
        for digest in (large, git, plain):
            digest.update(piece)
        yield piece
    expected = {64: (large,), 40: (git, plain)}.get(len(remote.etag) if _HASH.fullmatch(remote.etag) else 0, ())
    if expected and remote.etag not in {digest.hexdigest() for digest in expected}:
        raise SourceError(f"{remote.name}: the bytes that came do not have the hash that the hub tells; try again")


def download(remote: Remote, start: int, stop: int) -> Iterator[bytes]:
    """The bytes of a range in order, chunk by chunk; after a dropped connection from the byte that was reached."""
    if not remote.online:
        raise offline_error(remote.name)
    failures = 0
    began = reached = time.monotonic()
    first = start
    while start < stop:
        before, wait = start, 0.0
        try:
            with translate_errors(remote.repo, file=remote.file):
                for piece in _request(remote, start, min(stop, start + _CHUNK)):
                    start += len(piece)
                    reached = time.monotonic()
                    if reached - began > _PATIENCE + (start - first) / _SLOWEST:
                        raise SourceError(
                            f"{remote.name}: the server sends {start - first} bytes in {reached - began:.0f} s; "
                            "try again later, or set another HF_ENDPOINT"
                        )
                    yield piece
        except UnreachableError as error:
            wait = error.wait
            if start == before and (failures == _RETRIES or time.monotonic() + wait - reached > _PATIENCE):
                raise
        failures = failures + 1 if start == before else 0
        if failures > _RETRIES:
            raise UnreachableError(f"{remote.name}: the server sends nothing; try again later")
        if failures:
            time.sleep(max(wait, min(_LONGEST_WAIT, 0.25 * 2**failures)))


def _request(remote: Remote, start: int, stop: int) -> Iterator[bytes]:
    """What one request brings, up to ``stop``."""
    wanted = None if (start, stop) == (0, remote.size) else f"bytes={start}-{stop - 1}"
    with get(remote.url, wanted) as (status, headers, body):
        _check_answer(remote, status, headers, start, stop)
        for piece in body:
            start += len(piece)
            if start > stop:
                raise SourceError(f"{remote.name}: the server sends more bytes than were asked for; tell its owner")
            yield piece


def _check_answer(remote: Remote, status: int, headers: Mapping[str, str], start: int, stop: int) -> None:
    if status == 200 and (start, stop) != (0, remote.size):
        raise SourceError(
            f"{remote.name}: the server ignores byte ranges and would send all {remote.size} bytes; "
            f"run 'hf download {remote.repo}' and try again, or set HF_ENDPOINT to another server"
        )
    told = headers.get("Content-Range", "")
    match = _CONTENT_RANGE.fullmatch(told.strip())
    length = headers.get("Content-Length", str(stop - start))
    plain = headers.get("Content-Encoding", "identity") == "identity"
    ranged = status == 206 and match and tuple(map(int, match.groups())) == (start, stop - 1, remote.size)
    if not (ranged or status == 200) or length != str(stop - start) or not plain:
        raise SourceError(
            f"{remote.name}: bytes {start}-{stop - 1} of {remote.size} were asked for, but the server answers "
            f"with status {status}, {told[:80]!r} in {length[:20]} bytes; try again, or set another HF_ENDPOINT"
        )


@contextmanager
def get(
    url: str, wanted: str | None = None, *, seconds: float | None = None
) -> Iterator[tuple[int, Mapping[str, str], Iterator[bytes]]]:
    """Status, headers and body of a GET, of a range if one is wanted, through the hub client's own session."""
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    headers = {**build_hf_headers(library_name="embcheck"), "Accept-Encoding": "identity"}
    if wanted is not None:
        headers["Range"] = wanted
    session: Any = get_session()
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT if seconds is None else seconds

    def ask() -> tuple[Any, Any]:
        if callable(getattr(session, "stream", None)):
            answer = session.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True)
        else:  # huggingface_hub before 1.0, on requests
            answer = session.get(url, headers=headers, timeout=timeout, stream=True)
        return answer, answer.__enter__()

    answer, response = within(_PATIENCE, ask, "the headers")  # which may come byte by byte
    with ExitStack() as stack:
        stack.push(answer.__exit__)
        if response.status_code >= 400:
            response._content = b""  # noqa: SLF001 - else the client reads all of an error's body, which may have no end
        if response.status_code != 416:
            hf_raise_for_status(response)
        body = response.iter_bytes() if hasattr(response, "iter_bytes") else response.iter_content(_PIECE)
        yield response.status_code, response.headers, body
