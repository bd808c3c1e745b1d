"""Small tables, and float64 references that share no code with the kernels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from embcheck import lexicons
from embcheck.table import EmbeddingTable

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Products this small are fastest on one thread, whatever else the machine does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


@pytest.fixture
def made_categories(words):
    """``made_categories(sizes, others, strength)``: categories of made-up words, each around a direction of its own."""

    def build(sizes, others, *, strength=0.0, width=12, seed=0):
        names = iter(words(sum(sizes) + others))
        groups = tuple(lexicons.Category(f"c{k}", tuple(itertools.islice(names, size))) for k, size in enumerate(sizes))
        tokens = [word for group in groups for word in group.words] + list(names)
        r = np.random.default_rng(seed)
        vectors = r.standard_normal((len(tokens), width))
        for k, group in enumerate(groups):
            vectors[[tokens.index(word) for word in group.words], k] += strength
        order = r.permutation(len(tokens))
        table = EmbeddingTable.from_arrays(vectors[order].astype(np.float32), [tokens[i] for i in order])
        return table, lexicons.Categories("made up", "", groups)

    return build
