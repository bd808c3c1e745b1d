"""model2vec directories."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from embcheck import sources
from embcheck.errors import SourceError
from embcheck.spec import parse


@pytest.fixture
def save(tmp_path, unigram):
    """Write a model2vec directory for a tokenizer of seven tokens, and return its spec."""

    def write(**tensors):
        unigram.save(str(tmp_path / "tokenizer.json"))
        save_file(tensors, tmp_path / "model.safetensors")
        return parse(f"model2vec:{tmp_path}")

    return write


def load(spec):
    return sources.load(spec, device="cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_embeddings_are_the_table(save, matrix, dtype):
    """Without mapping and weights the stored matrix is the table, also read as a plain directory."""
    stored = matrix(7, dtype=dtype)
    spec = save(embeddings=stored)
    table = load(spec)
    assert torch.equal(table.vectors, stored)
    assert torch.equal(load(parse(spec.target)).vectors, stored)
    assert table.rows(["cat"]) == [2]
    assert sources.describe(spec).shape == (7, 4)


def test_a_mapping_and_weights_make_the_rows(save, matrix):
    """Each token's row is the vector that it maps to, times its weight, as sentence-transformers folds them."""
    stored, mapping = matrix(3), torch.tensor([0, 0, 2, 1, 1, 2, 0])
    weights = torch.linspace(0.5, 2, 7, dtype=torch.float64)
    spec = save(embeddings=stored, mapping=mapping, weights=weights)
    table = load(spec)
    expected = torch.stack([stored[m] * w for m, w in zip(mapping, weights, strict=True)]).float()
    assert torch.allclose(table.vectors, expected)
    assert table.provenance.shape == sources.describe(spec).shape == (7, 4)
    assert len(table.provenance.notes) == 2


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"mapping": torch.tensor([0, 1, 2, 3, 0, 0, 0])}, "past the 3 vectors"),
        ({"mapping": torch.tensor([0, -1, 2, 0, 0, 0, 0])}, "past the 3 vectors"),
        ({"mapping": torch.zeros(7)}, "no list of rows"),
        ({"mapping": torch.zeros(2, dtype=torch.int64)}, "token ids up to 6"),
        ({"weights": torch.zeros(5)}, "not one weight"),
        ({"embeddings": torch.zeros(7, 4, dtype=torch.int8)}, "no matrix of floats"),
        ({"embeddings": torch.zeros(7)}, "no matrix of floats"),
        ({"mapping": torch.zeros(2**22 + 1, dtype=torch.uint8)}, "more than any model has"),
    ],
)
def test_parts_that_do_not_fit(save, matrix, tensors, message):
    """Parts that don't fit together are refused in one line."""
    with pytest.raises(SourceError, match=message):
        load(save(**{"embeddings": matrix(3), **tensors}))


def test_other_models_are_refused(save, matrix):
    """A directory without a static table is refused, with how to read it."""
    with pytest.raises(SourceError, match="without a scheme"):
        load(save(wte=matrix(7)))
