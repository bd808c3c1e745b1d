"""One thread, and categories of made-up words."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from embcheck import lexicons
from embcheck.table import EmbeddingTable


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Products this small are fastest on one thread, whatever else the machine does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


@pytest.fixture
def wilson():
    """``wilson(share, n, t)``: the two shares that lie t of their own standard errors from the one seen."""

    def ends(share, n, t):
        return sorted(np.roots([1 + t**2 / n, -(2 * share + t**2 / n), share**2]).real)

    return ends
