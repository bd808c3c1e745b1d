"""A stand-in hub on 127.0.0.1, with a second port as the place where large files lie, and models to put on it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
import torch
from huggingface_hub import close_session, constants
from safetensors.torch import save
from tokenizers import Tokenizer, models

LARGE = (".safetensors", ".bin", ".gguf")
PIECE = 2**16
RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass
class Repo:
    files: dict
    gated: bool = False
    token: str | None = None
    branches: tuple = ("main",)
    etag: str | None = None
    """What every file's ETag is said to be."""
    hidden: int = 0
    """How many bytes of each small file are not told of before they are sent."""

    @property
    def commit(self):
        """A hash that changes with the files."""
        digest = hashlib.sha1(usedforsecurity=False)
        for name, content in sorted(self.files.items()):
            digest.update(name.encode() + content[:4096])
        return digest.hexdigest()


@dataclass
class Faults:
    """What goes wrong with large files."""

    drops: int = 0
    """How many answers break off halfway."""
    errors: int = 0
    """How many answers are 503."""
    ignores_range: bool = False
    wrong_size: int = 0
    """Added to the size that Content-Range tells."""
    wrong_start: int = 0
    """Added to the start that Content-Range tells."""
    extra: bytes = b""
    """Sent after the body, whose length is then not told."""
    pause: float = 0
    """Seconds between pieces."""
    stall: float = 0
    """Seconds before the first piece."""
    retry_after: int = 0
    """Seconds after which a 503 wants to be asked again."""
    endless: int = 0
    """Status of answers about repositories, whose bodies then have no end."""


@dataclass
class Hub:
    repos: dict = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    moved: Counter = field(default_factory=Counter)
    """Bytes of bodies that were sent, by file."""
    requests: list = field(default_factory=list)
    endpoint: str = ""
    cdn: str = ""

    def weights_moved(self):
        """Bytes of bodies of weights that were sent."""
        return sum(count for name, count in self.moved.items() if name.endswith(LARGE))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_):
        """Keep quiet."""

    def do_HEAD(self):
        """Answer without the body."""
        self.answer(body=False)

    def do_GET(self):
        """Answer."""
        self.answer(body=True)

    def answer(self, *, body):
        """Answer a request."""
        raise NotImplementedError

    def reply(self, status, headers, content=b"", *, body=True, name="api"):
        """Send a whole answer."""
        self.send_response(status)
        headers.setdefault("Content-Length", str(len(content)))
        for key, value in headers.items():
            if value is not None:
                self.send_header(key, value)
        self.end_headers()
        if body:
            self.send(name, content)

    def send(self, name, content):
        """Send part of a body, counted before its last byte is there: a test looks as soon as it is."""
        self.hub.moved[name] += len(content)
        try:
            self.wfile.write(content)
        except OSError:
            self.hub.moved[name] -= len(content)
            raise

    def fail(self, status, code, message="no"):
        """Send an error as the hub does."""
        headers = {"X-Error-Code": code, "X-Error-Message": message, "Content-Type": "application/json"}
        self.reply(status, headers, json.dumps({"error": message}).encode(), body=self.command == "GET")


class HubHandler(Handler):
    def answer(self, *, body):
        """Answer a request."""
        path = unquote(self.path.partition("?")[0])
        self.hub.requests.append((self.command, path, self.headers.get("Authorization")))
        if self.hub.faults.endless and path.startswith("/api/"):
            self.reply(self.hub.faults.endless, {"Content-Length": None, "Connection": "close"}, b"[", body=body)
            while self.hub.moved["api"] < 2**33:
                self.wfile.write(b" " * PIECE)
                self.hub.moved["api"] += PIECE
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            repo = self.find(match[1], match[2] or "main")
            if repo is not None:
                files = [{"rfilename": name, "size": len(content)} for name, content in repo.files.items()]
                about = {"id": match[1], "sha": repo.commit, "siblings": files, "private": False, "tags": []}
                self.reply(200, {"Content-Type": "application/json"}, json.dumps(about).encode())
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
            repo = self.find(match[1], match[2])
            if repo is not None:
                entries = [
                    {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha256(content).hexdigest()}
                    for name, content in repo.files.items()
                ]
                self.reply(200, {"Content-Type": "application/json"}, json.dumps(entries).encode())
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            repo = self.find(match[1], match[2])
            if repo is not None and repo.gated:
                self.fail(403, "GatedRepo", "Access to model is restricted")
            elif repo is not None:
                self.resolve(repo, match[1], match[3], body=body)
        else:
            self.fail(404, "RepoNotFound")

    def find(self, name, revision):
        """The repository of a name, if it is there, for whoever asks."""
        repo = self.hub.repos.get(name)
        sent = self.headers.get("Authorization")
        if repo is None or (repo.token and sent != f"Bearer {repo.token}"):
            self.fail(401, "RepoNotFound", "Repository not found")
            return None
        if revision not in {*repo.branches, repo.commit}:
            self.fail(404, "RevisionNotFound", "Invalid rev id")
            return None
        return repo

    def resolve(self, repo, repo_name, name, *, body):
        """Send a small file, or where a large one lies."""
        content = repo.files.get(name)
        if content is None:
            self.fail(404, "EntryNotFound", "Entry not found")
            return
        etag = f'"{repo.etag or hashlib.sha256(content).hexdigest()}"'
        headers = {"X-Repo-Commit": repo.commit, "ETag": etag}
        if name.endswith(LARGE):
            headers |= {"X-Linked-Size": str(len(content)), "X-Linked-Etag": etag}
            self.reply(302, {**headers, "Location": f"{self.hub.cdn}/{repo_name}/{name}"})
        else:
            told = str(len(content) - repo.hidden) if not (body and repo.hidden) else None
            self.close_connection = told is None
            self.reply(200, {**headers, "Content-Length": told}, content, body=body, name=name)


class CdnHandler(Handler):
    def answer(self, *, body):
        """Answer a request."""
        assert self.headers.get("Authorization") is None, "the token went to another host"
        owner, repo, name = unquote(self.path).lstrip("/").split("/", 2)
        content, faults = self.hub.repos[f"{owner}/{repo}"].files[name], self.hub.faults
        self.hub.requests.append((self.command, name, self.headers.get("Range")))
        if faults.errors:
            faults.errors -= 1
            self.reply(503, {"Retry-After": str(faults.retry_after)} if faults.retry_after else {})
            return
        match = RANGE.fullmatch(self.headers.get("Range", ""))
        if match is None or faults.ignores_range:
            self.stream(200, {}, content, name)
            return
        start, stop = int(match[1]), min(int(match[2]) + 1, len(content))
        told = f"bytes {start + faults.wrong_start}-{stop - 1}/{len(content) + faults.wrong_size}"
        self.stream(206, {"Content-Range": told}, content[start:stop], name)

    def stream(self, status, headers, content, name):
        """Send a large file piece by piece, with the faults that are asked for."""
        faults = self.hub.faults
        self.send_response(status)
        if faults.extra:
            self.send_header("Connection", "close")
            content += faults.extra
        else:
            self.send_header("Content-Length", str(len(content)))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        time.sleep(faults.stall)
        broken = faults.drops > 0 and len(content) > PIECE
        faults.drops -= broken
        for start in range(0, len(content) // 2 if broken else len(content), PIECE):
            piece = content[start : start + PIECE]
            self.send(name, piece)
            time.sleep(faults.pause)
        if broken or faults.extra:
            self.close_connection = True
            self.connection.close()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Clients that go away are part of the tests."""


@pytest.fixture
def hub():
    """Start a hub without models; what is put into ``repos`` is served."""
    made, servers = Hub(), []
    for handler in (HubHandler, CdnHandler):
        server = Server(("127.0.0.1", 0), type(handler.__name__, (handler,), {"hub": made}))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
    made.endpoint, made.cdn = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    yield made
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def point_to(monkeypatch):
    """Let the client in this process ask another hub; it reads the variables only when it is imported."""

    def point(endpoint):
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        )

    return point


@pytest.fixture
def client(hub, point_to, tmp_path, monkeypatch):
    """Let the client in this process ask the stand-in, with empty caches, and return their parent."""
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_TOKEN", "EMBCHECK_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    point_to(hub.endpoint)
    close_session()
    yield tmp_path / "home"
    close_session()


@pytest.fixture
def environment(hub, tmp_path):
    """Variables under which another process asks the stand-in, with the caches of ``client``."""
    home = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.endpoint, "NO_PROXY": "127.0.0.1"}
    return {**home, "HF_HUB_DISABLE_XET": "1", "OMP_WAIT_POLICY": "passive"}


def tokenizer_json(size=10):
    words = {f"word{i}": i for i in range(size - 1)} | {"[UNK]": size - 1}
    return Tokenizer(models.WordLevel(words, unk_token="[UNK]")).to_str().encode()


def matrix(rows=16384, width=128, dtype=torch.bfloat16):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(1)).to(dtype)


def sharded(embedding, shards):
    """Files of a model in so many safetensors files, its embedding in one of them among other tensors."""
    files, weight_map = {}, {}
    for number in range(shards):
        tensors = {f"model.layers.{number}.{i}.weight": torch.full((256, 512), float(i)) for i in range(2)}
        if number == shards // 2:
            tensors["model.embed_tokens.weight"] = embedding
        name = "model.safetensors" if shards == 1 else f"model-{number + 1:05}-of-{shards:05}.safetensors"
        files[name] = save(tensors, {"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
    if shards > 1:
        files["model.safetensors.index.json"] = json.dumps({"weight_map": weight_map}).encode()
    return files


def pickled(embedding, *, legacy=False, more=()):
    """The bytes of a pytorch_model.bin with the embedding among other tensors."""
    tensors = {f"layer.{i}.weight": torch.full((256, 512), float(i)) for i in range(30)}
    tensors["embeddings.word_embeddings.weight"] = embedding
    tensors |= dict(more)
    buffer = io.BytesIO()
    torch.save(tensors, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


@pytest.fixture
def publish(hub):
    """Put a model on the hub: safetensors in so many shards, or the files given, with tokenizer and config."""

    def put(name="org/model", files=None, *, shards=1, embedding=None, **options):
        embedding = matrix() if embedding is None else embedding
        texts = {"tokenizer.json": tokenizer_json(), "config.json": b'{"model_type": "llama"}', "README.md": b"#"}
        files = sharded(embedding, shards) if files is None else files
        hub.repos[name] = Repo({**texts, **files}, **options)
        return embedding

    return put


def safetensors(tensors):
    """The bytes of a safetensors file with these tensors among others."""
    others = {f"model.layers.1.{i}.weight": torch.full((256, 512), float(i)) for i in range(8)}
    return save({**others, **tensors}, {"format": "pt"})


def gguf(embedding, more=()):
    """The bytes of a GGUF file with an embedding of 32-bit floats, another tensor and those given, and few tokens."""

    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    tokens = [f"word{i}" for i in range(10)]
    listed = text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, len(tokens)) + b"".join(map(text, tokens))
    kind = text("tokenizer.ggml.model") + struct.pack("<I", 8) + text("unheard-of")
    held = {"blk.0.weight": torch.zeros(4096, 64), "token_embd.weight": embedding, **dict(more)}
    starts = [0, *accumulate(matrix.nbytes for matrix in held.values())]
    tensors = b"".join(
        text(name) + struct.pack("<IQQIQ", 2, matrix.shape[1], matrix.shape[0], 0, at)
        for (name, matrix), at in zip(held.items(), starts, strict=False)
    )
    head = b"GGUF" + struct.pack("<IQQ", 3, len(held), 2) + kind + listed + tensors
    head += b"\0" * (-len(head) % 32)
    return head + b"".join(bytes(matrix.numpy().data.cast("B")) for matrix in held.values())


@pytest.fixture
def make():
    """Make the parts of models: ``make.matrix``, ``make.safetensors``, ``make.pickled`` and ``make.gguf``."""
    return SimpleNamespace(matrix=matrix, safetensors=safetensors, pickled=pickled, gguf=gguf)
