"""Stand-in directories: named as listed models, with matrices built to what was published of those."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.optimize import least_squares
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from embcheck import published
from embcheck.spec import parse

NOUNS = {"city": "cities", "country": "countries", "man": "men", "woman": "women"}
PLURALS = [
    f"{noun}>{NOUNS.get(noun, noun + 's')}"
    for noun in ("cat", "dog", "king", "queen", "word", "token", "city", "country", "man", "woman")
]
NAMES = ["Mike", "ĠMike", "Michael", "Chris", "Jim"]


def byte_level(words):
    """A tokenizer of GPT-2's kind under which each of the words is one token."""
    vocab = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = []
    for word in words:
        for end in range(2, len(word) + 1):
            if word[:end] not in vocab:
                vocab[word[:end]] = len(vocab)
                merges.append((word[: end - 1], word[end - 1]))
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


@pytest.fixture(scope="session")
def save_model():
    """``save_model(folder, matrix, words)``: a model directory with that matrix and a token for each word."""

    def save(folder, matrix, words=()):
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {"model.embed_tokens.weight": torch.tensor(np.asarray(matrix, dtype=np.float32))},
            folder / "model.safetensors",
        )
        byte_level(words).save(str(folder / "tokenizer.json"))
        config = {"tie_word_embeddings": True, "vocab_size": len(matrix), "hidden_size": matrix.shape[1]}
        (folder / "config.json").write_text(json.dumps(config))
        return parse(str(folder))

    return save


def entries(model):
    return {entry.how: entry for entry in published.entries() if entry.model == model and entry.how}


# --- means over 50 tokens -------------------------------------------------------------------------------------------


def cosines(matrix):
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    found = unit @ unit.T
    np.fill_diagonal(found, np.nan)
    return found


def share_of(matrix):
    found = cosines(matrix)
    return float((found >= 0).sum() / (len(found) * (len(found) - 1)))


@pytest.fixture(scope="session")
def biased():
    """``biased(share)``: 800 rows about a common direction, each with a partner, of that share of non-negative cosines.

    Cosines are spread as in 760 dimensions, so that the smallest of a row is near -0.1; rows differ in how far they
    follow the common direction, so that probes do.
    """
    rng = np.random.default_rng(4)
    rows, width, near = 800, 760, 0.41
    noise = rng.standard_normal((rows, width))
    partner = near * noise[: rows // 2] + math.sqrt(1 - near**2) * noise[rows // 2 :]
    noise = np.concatenate([noise[: rows // 2], partner])
    follows = 1 + 0.3 * rng.standard_normal(rows)

    def make(share):
        low, high = 0.0, 30.0
        for _ in range(14):
            middle = (low + high) / 2
            matrix = noise.copy()
            matrix[:, 0] += middle * follows
            low, high = (middle, high) if share_of(matrix) < share else (low, middle)
        return matrix

    return make


# --- words ----------------------------------------------------------------------------------------------------------


def offsets(wanted, rng):
    """Unit vectors with these cosines to the direction of their mean: their other parts add up to nothing."""
    length = np.sqrt(1 - wanted**2)[:, None]
    rest = rng.standard_normal((len(wanted), 16))
    for _ in range(2_000):
        rest -= rest.mean(0)
        rest *= length / np.linalg.norm(rest, axis=1, keepdims=True)
    assert np.abs(rest.mean(0)).max() < 1e-12
    return np.column_stack([wanted, rest])


def royals(queen, king, degrees):
    """Rows king, man, woman, queen (4, 4) with these cosines of king - man + woman, and this angle."""

    def found(flat):
        k, m, w, q = flat.reshape(4, 4)
        r = k - m + w
        return [cos(r, q) - queen, cos(r, k) - king, cos(k - m, q - w) - math.cos(math.radians(degrees))]

    def cos(x, y):
        return x @ y / math.sqrt((x @ x) * (y @ y))

    solved = least_squares(found, np.random.default_rng(1).standard_normal(16), xtol=1e-15, ftol=1e-15, gtol=1e-15)
    assert max(map(abs, solved.fun)) < 1e-9
    return solved.x.reshape(4, 4)


@pytest.fixture(scope="session")
def gpt2():
    """Words, their rows, and a matrix in which the figures published of GPT-2 are planted."""
    figures = entries("openai-community/gpt2")
    rng = np.random.default_rng(0)
    words = [f"Ġ{word}" for pair in PLURALS for word in pair.split(">")] + NAMES
    tokenizer = byte_level(words)
    place = {word.removeprefix("Ġ") if word not in NAMES else word: tokenizer.token_to_id(word) for word in words}
    size, width = tokenizer.get_vocab_size(), 64
    matrix = np.zeros((size, width))
    matrix[:, 40:] = rng.standard_normal((size, width - 40))  # what nothing is claimed of
    matrix[list(place.values())] = 0
    wanted = np.array([figure.value for figure in figures["offset_cosines"].figures])
    king, man, woman, queen = royals(*(figure.value for figure in figures["arithmetic"].figures))
    own = {"king": king, "man": man, "woman": woman, "queen": queen}
    for pair, offset in zip(PLURALS, offsets(wanted, rng), strict=True):
        one, many = (place[word] for word in pair.split(">"))
        matrix[one, :4] = own.get(pair.split(">")[0], rng.standard_normal(4))
        matrix[many] = matrix[one]
        matrix[many, 4:21] += offset
    for i, (name, figure) in enumerate(zip(NAMES, figures["neighbors"].figures, strict=True)):
        matrix[place[name], 21] = figure.value
        matrix[place[name], 22 + i] = math.sqrt(1 - figure.value**2)
    return words, place, matrix
