"""An OpenAI-compatible endpoint: texts go to ``POST URL``, one vector each comes back, and nothing it says is believed.

Every answer has a largest size and a longest time, is read as the few fields that count, and must hold one vector of
finite numbers for each text, all of one width. The key comes from the environment alone, and goes to the address that
was given and no other: not along a redirect, not unencrypted to another machine, and into no message.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

import msgspec
import numpy as np

from embcheck.errors import SourceError, SpecError
from embcheck.progress import track
from embcheck.sources.bounded import LateError, within
from embcheck.sources.files import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from email.message import Message
    from urllib.parse import SplitResult

    from numpy.typing import NDArray

    from embcheck.spec import ModelSpec

KEYS = ("EMBCHECK_API_KEY", "OPENAI_API_KEY")
_OPENAI = "api.openai.com"
BATCH = 64
SECONDS = 120
_PIECE = 2**16
_LARGEST_ERROR = 2**16
_LARGEST_FRAME = 2**20
_LARGEST_VECTOR = 16_384 * 24  # bytes of JSON: the widest models have 8,192 numbers
_RETRIES = 4
_LATE_RETRIES = 1
_LONGEST_WAIT = 30.0


class _Item(msgspec.Struct):
    index: int
    embedding: list[float] | str


class _Answer(msgspec.Struct):
    data: list[_Item]
    model: str | None = None


class _Passing(Exception):  # noqa: N818 - no failure yet
    """What may be over when asked again: the error if it isn't, and how long the server wants to be left alone."""

    def __init__(self, error: SourceError, *, wait: float = 0.0, retries: int = _RETRIES) -> None:
        super().__init__()
        self.error, self.wait, self.retries = error, wait, retries


@dataclass(frozen=True, slots=True)
class Vectors:
    """What a server made of some texts."""

    matrix: NDArray[np.float32]
    """(n, d), a row a text."""
    model: str | None
    """The model that the server says it is."""
    bytes: int
    """How many came."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where texts are sent, and how many and how long at a time."""

    url: str
    model: str
    batch: int = BATCH
    seconds: int = SECONDS

    @property
    def host(self) -> str:
        """What the server is called in messages."""
        return urlsplit(self.url).netloc

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of some texts, in batches; raises `SourceError` where the server gives none that make sense."""
        key = self._key()
        try:
            vectors = self._embed(texts, key)
        except SourceError as error:  # the server may repeat what it was sent
            raise SourceError(str(error).replace(key, "***") if key else str(error)) from None
        model = vectors.model.replace(key, "***") if key and vectors.model else vectors.model
        return replace(vectors, model=model)

    def _embed(self, texts: Sequence[str], key: str | None) -> Vectors:
        rows: list[NDArray[np.float32]] = []
        said, moved = None, 0
        for start in track(range(0, len(texts), self.batch), f"{self.host}, batches"):
            part = texts[start : start + self.batch]
            content = self._ask_until_answered(part, key)
            answer = self._decode(content)
            matrix = self._matrix(answer, len(part))
            if rows and matrix.shape[1] != rows[0].shape[1]:
                raise self._nonsense(
                    f"vectors of {matrix.shape[1]} numbers after {start} of {rows[0].shape[1]}: it is not one model"
                )
            rows.append(matrix)
            said, moved = answer.model, moved + len(content)
        return Vectors(np.concatenate(rows), said, moved)

    def _key(self) -> str | None:
        """The key of the environment, if there is one, which the address must keep secret."""
        for name in KEYS:
            key = os.environ.get(name, "").strip()
            parts = urlsplit(self.url)
            belongs = (
                name != "OPENAI_API_KEY" or parts.hostname == _OPENAI or _is_here(parts)
            )  # else a spec could take it
            if not key or not belongs:
                continue
            if not (key.isascii() and key.isprintable()) or " " in key:
                raise SourceError(f"{name} has characters that no key has; set it again, or unset it")
            if parts.scheme == "http" and not _is_here(parts):
                raise SourceError(
                    f"{name} is set and would go to {self.host} unencrypted; give an https address, "
                    f"or unset it if that server needs none (env -u {name} embcheck ...)"
                )
            return key
        return None

    def _ask_until_answered(self, texts: Sequence[str], key: str | None) -> bytes:
        """One answer's body. What may pass is tried again, after as long as the server wants to be left."""
        failures = 0
        while True:
            try:
                body: bytes = within(self.seconds + 1, lambda: self._ask(texts, key))
            except _Passing as passing:
                failures += 1
                if failures > passing.retries:
                    raise passing.error from None
                time.sleep(min(_LONGEST_WAIT, max(passing.wait, 0.25 * 2**failures)))
            except LateError:
                raise self._late() from None
            else:
                return body

    def _ask(self, texts: Sequence[str], key: str | None) -> bytes:
        """What one request brings."""
        import http.client
        import urllib.error
        import urllib.request

        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "embcheck"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        asked = {"model": self.model, "input": list(texts), "encoding_format": "float"}
        request = urllib.request.Request(self.url, msgspec.json.encode(asked), headers)  # noqa: S310 - http or https
        proxies = [urllib.request.ProxyHandler({})] if _is_here(urlsplit(self.url)) else []
        opener = urllib.request.build_opener(_no_redirects(), *proxies)
        deadline = time.monotonic() + self.seconds
        most = _LARGEST_FRAME + len(texts) * _LARGEST_VECTOR
        try:
            with opener.open(request, timeout=self.seconds) as response:
                return self._read(response, most, deadline)
        except urllib.error.HTTPError as error:
            with error:
                self._refuse(error.code, error.headers, _beginning(error, deadline), key, len(texts))
        except TimeoutError:
            raise _Passing(self._late(), retries=_LATE_RETRIES) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise _Passing(self._late(), retries=_LATE_RETRIES) from None
            unreachable = SourceError(
                f"cannot reach {self.host} ({one_line(reason) or type(reason).__name__}); "
                "check the address, and that the server runs"
            )
            if isinstance(error, urllib.error.URLError) and not isinstance(reason, ConnectionResetError):
                raise unreachable from None  # nobody listens, no such name, a certificate that is not good
            raise _Passing(unreachable) from None

    def _read(self, response: Any, most: int, deadline: float) -> bytes:
        if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise self._nonsense("a compressed body, which was not asked for")
        body = bytearray()
        while piece := response.read1(_PIECE):
            body += piece
            if len(body) > most:
                raise self._nonsense(f"more than {most} bytes, which no such vectors have")
            if time.monotonic() > deadline:
                raise self._late()
        told = response.headers.get("Content-Length", "")
        if told.isdecimal() and len(told) < 12 and len(body) < int(told):
            raise ConnectionResetError(f"the connection broke off after {len(body)} of {told} bytes")
        return bytes(body)

    def _refuse(self, status: int, headers: Message, body: bytes, key: str | None, count: int) -> NoReturn:
        """Raise what an answer of another status than 200 means."""
        told = one_line(_told(body))
        said = f": {told}" if told else ""
        answer = f"{self.host} answers with status {status}"
        if status in {401, 403}:
            way_out = f"check {KEYS[0]}" if key is not None else f"set {KEYS[0]} to its key"
        elif 300 <= status < 400:
            where = one_line(headers.get("Location", "") or "nowhere")
            said, way_out = f", which leads to {where}", "it is not followed; give the address itself, if you trust it"
        elif status == 404:
            way_out = f"check the address, {self.url}, and the model's name, {self.model!r}"
        elif status in {408, 425, 429} or status >= 500:
            seconds = headers.get("Retry-After", "").strip()
            wait = float(seconds) if seconds.isdecimal() and len(seconds) < 6 else 0.0
            error = SourceError(f"{answer}{said}; try again later, or send fewer texts at once with batch=N")
            raise _Passing(error, wait=wait)
        else:
            way_out = f"check the model's name, {self.model!r}"
            way_out += f", or send fewer than {count} texts at once with batch=N" if count > 1 else ""
        raise SourceError(f"{answer}{said}; {way_out}")

    def _decode(self, body: bytes) -> _Answer:
        if body.lstrip()[:1] == b"<":
            raise self._nonsense("a web page", "give the address of its API, such as https://HOST/v1")
        try:
            return msgspec.json.decode(body, type=_Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            told = _told(body)
            raise self._nonsense(f"no embeddings ({one_line(error)}{'; ' + one_line(told) if told else ''})") from None

    def _matrix(self, answer: _Answer, count: int) -> NDArray[np.float32]:
        """(count, d): the vectors, each where its index says."""
        if len(answer.data) != count:
            raise self._nonsense(f"{len(answer.data)} vectors for {count} texts")
        if sorted(item.index for item in answer.data) != list(range(count)):
            raise self._nonsense(f"vectors whose indices are not 0 to {count - 1}, each once")
        rows = [self._vector(item) for item in sorted(answer.data, key=lambda item: item.index)]
        widths = sorted({len(row) for row in rows})
        if len(widths) != 1 or widths[0] == 0:
            raise self._nonsense(f"vectors of {' and '.join(map(str, widths[:4]))} numbers")
        matrix = np.stack(rows)
        if not np.isfinite(matrix).all():
            raise self._nonsense("numbers that are not finite")
        return matrix

    def _vector(self, item: _Item) -> NDArray[np.float32]:
        """A vector as a list of numbers or, as some servers have it whatever is asked, as base64 of float32."""
        with np.errstate(over="ignore"):  # found by being infinite
            if not isinstance(item.embedding, str):
                return np.asarray(item.embedding, dtype=np.float64).astype(np.float32)
        try:
            content = base64.b64decode(item.embedding, validate=True)
            return np.frombuffer(content, dtype="<f4").astype(np.float32)
        except (binascii.Error, ValueError):
            raise self._nonsense(f"text {one_line(item.embedding)[:40]!r} as a vector") from None

    def _late(self) -> SourceError:
        return SourceError(
            f"{self.host} has not answered within {self.seconds} s; send fewer texts at once with batch=N, "
            "or wait longer with timeout=SECONDS"
        )

    def _nonsense(
        self, what: str, way_out: str = "check the address, and that it serves OpenAI's embeddings"
    ) -> SourceError:
        return SourceError(f"{self.host} answers with {what}; {way_out}")


def endpoint(spec: ModelSpec) -> Endpoint:
    """The endpoint of an ``api:`` spec, from its text alone."""
    try:
        parts = urlsplit(spec.target)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if is_address and (parts.username is not None or parts.query or parts.fragment):
        raise SpecError(  # shows nothing of it
            "an api: spec has a password, a query or a fragment in its address; "
            f"give the address alone, and the key as the environment variable {KEYS[0]}"
        )
    if not is_address:
        raise SpecError(f"spec {one_line(spec.text)!r}: no address; write api:https://HOST/v1,model=NAME,words=FILE")
    model = spec.option("model")
    if model is None:
        raise SpecError(f"spec {spec.text!r}: which model? write api:{spec.target},model=NAME,words=FILE")
    path = parts.path.rstrip("/")
    if not path.endswith("/embeddings"):
        path += "/embeddings" if path.endswith("/v1") else "/v1/embeddings"
    batch, seconds = _whole(spec, "batch", BATCH, 2_048), _whole(spec, "timeout", SECONDS, 3_600)
    return Endpoint(parts._replace(path=path).geturl(), model, batch, seconds)


def _whole(spec: ModelSpec, key: str, default: int, most: int) -> int:
    text = spec.option(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= most):
        raise SpecError(f"spec {spec.text!r}: {key} must be a whole number from 1 to {most}, not {text!r}")
    return int(text)


def _is_here(parts: SplitResult) -> bool:
    """Whether what is sent never leaves this machine."""
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _no_redirects() -> Any:
    """A handler under which a redirect is an answer like any other: what we send is meant for one address."""
    from urllib.request import HTTPRedirectHandler

    class NoRedirects(HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    return NoRedirects()


def _beginning(response: Any, deadline: float) -> bytes:
    """As much of an error's body as may be quoted."""
    body = bytearray()
    try:
        while len(body) < _LARGEST_ERROR and time.monotonic() < deadline and (piece := response.read1(_PIECE)):
            body += piece
    except (OSError, ValueError):  # it said enough by its status
        pass
    return bytes(body[:_LARGEST_ERROR])


def _told(body: bytes) -> str:
    """What the server says went wrong, as any of the forms that servers have for it."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        is_page = body.lstrip()[:1] == b"<"
        return "" if is_page else body[:200].decode("utf-8", "replace")
    for key in ("error", "message", "detail"):
        if isinstance(document, dict) and document.get(key):
            document = document[key]
    return document if isinstance(document, str) else msgspec.json.encode(document)[:200].decode("utf-8", "replace")
