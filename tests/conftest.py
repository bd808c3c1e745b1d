"""What every test starts from; small tables, and float64 references that share no code with the kernels."""

import os

import numpy as np
import pytest
import torch
from hypothesis import settings

from embcheck import lexicons
from embcheck.table import EmbeddingTable

pytest_plugins = ["pytester"]

# The same examples each time, so that a red build is about the change; HYPOTHESIS_PROFILE=default looks for others.
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# Tests that are about continuous integration say so themselves. Fixtures of any scope, and subprocesses, see this too.
for name in ("CI", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
    os.environ.pop(name, None)

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as embcheck does; workers of xdist see it before they import NumPy

if "PYTEST_XDIST_WORKER" in os.environ:  # each has a core: threads of several would wait for each other's turn
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _word(i):
    """Five letters; consecutive numbers begin differently."""
    number = (i * 7_654_321 + 1_234_567) % 26**5
    return "".join(LETTERS[number // 26**k % 26] for k in range(5))


@pytest.fixture(scope="session")
def words():
    """``words(n)``: n distinct made-up words of five letters."""
    return lambda n: [_word(i) for i in range(n)]


@pytest.fixture(scope="session")
def gaussian_table(words):
    """``gaussian_table(rows, width)``: noise under made-up words; ``shift`` moves its mean, ``gaps`` adds bad rows."""

    def make(rows, width, *, seed=0, shift=0.0, gaps=False, dtype=torch.float32):
        vectors = np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)
        vectors += np.float32(shift)
        tokens = words(rows)
        if gaps:
            tokens[0], tokens[rows // 3] = "<unk>", "[unused1]"
            vectors[5] = 0
            vectors[rows // 2, 0] = np.nan
        return EmbeddingTable.from_arrays(torch.from_numpy(vectors).to(dtype), tokens)

    return make


@pytest.fixture(scope="session")
def cosines():
    """``cosines(table)``: (N, N) float64 cosines of the population rows, NaN on the diagonal."""

    def compute(table, center=None):
        rows = table.vectors.double().numpy()[table.population]
        rows = rows if center is None else rows - center
        found = np.array([[np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)) for b in rows] for a in rows])
        np.fill_diagonal(found, np.nan)
        return found

    return compute


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def lexicon_table(words):
    """``lexicon_table(plant, width, seed)``: noise under the lexicons' words; ``plant(vectors, at)`` may change it."""
    tokens = list(dict.fromkeys([*lexicons.words(), *words(600)]))
    place = {token: i for i, token in enumerate(tokens)}

    def make(plant=None, *, width=32, seed=0):
        vectors = np.random.default_rng([seed, 3]).standard_normal((len(tokens), width))
        if plant is not None:
            plant(vectors, lambda names: [place[name] for name in names])
        return EmbeddingTable.from_arrays(vectors.astype(np.float32), tokens)

    return make
