"""LitServe, an OpenAI-compatible server from PyPI, around the demo encoder by sentence-transformers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from defects import DEFECTS, sentences

import embcheck
from embcheck.diagnosis.encoders import diagnose_encoder

pytest.importorskip("sentence_transformers", reason="the st extra is not installed")
pytest.importorskip("litserve", reason="litserve is not installed: pip install litserve")
pytestmark = pytest.mark.slow

SERVER = """
import sys
import litserve
from sentence_transformers import SentenceTransformer
sys.path.append(sys.argv[3])
from defects import DEFECTS, Service

class Encoder(litserve.LitAPI):
    def setup(self, device):
        self.model, self.service = SentenceTransformer(sys.argv[1], device="cpu"), Service(sys.argv[1])

    def decode_request(self, request, **_):
        return request.model, request.ensure_list()

    def predict(self, asked, **_):
        name, texts = asked
        if name == "demo":
            return self.model.encode(texts).tolist()
        return self.service.embed(texts, **list(DEFECTS.values())[int(name)][0])

if __name__ == "__main__":
    api = litserve.LitServer(Encoder(spec=litserve.OpenAIEmbeddingSpec()), accelerator="cpu", timeout=300)
    api.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, num_api_servers=1)
"""


@pytest.fixture(scope="module")
def url(folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("litserve")
    (place / "server.py").write_text(SERVER)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (place / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "server.py", str(folder), str(port), str(Path(__file__).parent)],
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
def everyday(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("\n".join(sentences()) + "\n")
    return path


def test_what_a_real_server_sends_is_what_the_directory_encodes(url, folder, everyday, monkeypatch):
    """The table of ``api:`` and that of ``st:`` of the same folder differ by rounding in float32 at most."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    served = embcheck.load(f"api:{url},model=demo,words={everyday}", device="cpu")
    read = embcheck.load(f"st:{folder},words={everyday}", device="cpu")
    assert served.tokens == read.tokens
    np.testing.assert_allclose(served.vectors.numpy(), read.vectors.numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_of_a_real_server_is_named(url, encoder, everyday, defect, monkeypatch):
    """Of 200 sentences through a server with a defect, the diagnosis names that cause, its parameters and no other."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    _, prefix, expected = DEFECTS[defect]
    name = list(DEFECTS).index(defect)
    table = embcheck.load(f"api:{url},model={name},words={everyday}", device="cpu")
    named = diagnose_encoder(encoder(prefix), table)
    print(f"{defect:25} {', '.join(f'{e.cause} {e.parameters} {e.residual:.1e}' for e in named)}")  # noqa: T201 - with -s
    assert {each.cause for each in named} == set(expected)
    for each in named:
        assert expected[each.cause].items() <= each.parameters.items()
        assert each.sentence.endswith(".")
