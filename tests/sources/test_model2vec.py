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
        ({"embeddings": torch.zeros(7, 4, dtype=torch.int32)}, "no matrix of floats or int8"),
        ({"embeddings": torch.zeros(2**23, 1, dtype=torch.int8)}, "more than any model has"),
        ({"embeddings": torch.zeros(7)}, "no matrix of floats"),
        ({"mapping": torch.zeros(2**22 + 1, dtype=torch.uint8)}, "more than any model has"),
    ],
)
def test_parts_that_do_not_fit(save, matrix, tensors, message):
    """Parts that don't fit together are refused in one line."""
    with pytest.raises(SourceError, match=message):
        load(save(**{"embeddings": matrix(3), **tensors}))


@pytest.mark.parametrize("is_shared", [False, True])
def test_int8_is_what_the_library_computes_with(save, is_shared):
    """Whole numbers become floats of the same value, picked and weighed as others; a note says they have no scale."""
    stored = torch.arange(-14, 14, dtype=torch.int8).reshape(7, 4)
    mapping, weights = torch.tensor([0, 0, 2, 1, 1, 2, 6]), torch.linspace(0.5, 2, 7)
    spec = save(embeddings=stored, **({"mapping": mapping, "weights": weights} if is_shared else {}))
    table = load(spec)
    expected = stored[mapping].float() * weights[:, None] if is_shared else stored.float()
    assert torch.equal(table.vectors, expected)
    assert "int8" in table.provenance.notes[0]
    assert sources.describe(spec).dtype == ("float32" if is_shared else "int8")
    with pytest.raises(SourceError, match="write model2vec:"):
        load(parse(spec.target))


def test_the_table_may_lie_in_a_folder_inside(save, matrix, tmp_path):
    """As sentence-transformers saves a model: the module's folder has the table and the tokenizer."""
    spec = save(**{"embedding.weight": matrix(7)})
    (tmp_path / "0_StaticEmbedding").mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).rename(tmp_path / "0_StaticEmbedding" / name)
    assert torch.equal(load(spec).vectors, matrix(7))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("quantize_to", ["float16", "int8"])
@pytest.mark.parametrize("clusters", [None, 3])
def test_model2vec_reads_the_same(tmp_path, wordpiece, matrix, quantize_to, clusters):
    """What model2vec saved, quantized and with shared rows, gives each token the row that model2vec computes with."""
    static = pytest.importorskip("model2vec")
    if clusters is not None:
        pytest.importorskip("sklearn", exc_type=ImportError)
    from model2vec.model import quantize_model

    model = static.StaticModel(vectors=matrix(14).numpy(), tokenizer=wordpiece, config={})
    model = quantize_model(model, vocabulary_quantization=clusters, quantize_to=quantize_to)
    model.save_pretrained(tmp_path)
    again = static.StaticModel.from_pretrained(str(tmp_path))
    table = load(parse(f"model2vec:{tmp_path}"))
    expected = torch.tensor(again._encode_helper(list(range(14)))).float()
    assert torch.allclose(table.vectors.float(), expected, rtol=1e-6, atol=0)


def test_other_models_are_refused(save, matrix):
    """A directory without a static table is refused, with how to read it."""
    with pytest.raises(SourceError, match="without a scheme"):
        load(save(wte=matrix(7)))
