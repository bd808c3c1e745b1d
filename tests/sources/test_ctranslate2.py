"""Models of CTranslate2, written by hand and by its converter."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from written import ct2_model, write_ct2

from embcheck import sources
from embcheck.errors import SourceError
from embcheck.spec import parse

VECTORS = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
WORDS = ["<unk>", "▁cat", "▁dog", "s"]
DECODER = "decoder/embeddings/weight"


def load(spec):
    return sources.load(spec, device="cpu")


@pytest.fixture
def save(tmp_path):
    """Write a model's folder, and return its spec."""

    def write(variables, options="", **how):
        return parse(f"ctranslate2:{write_ct2(tmp_path / 'm', WORDS, variables, **how)}{options}")

    return write


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("version", [4, 6])
def test_floats_are_read_bit_for_bit(save, dtype, version):
    """Floats keep their type, and the model's list of tokens names the rows."""
    vectors = VECTORS.astype(dtype)
    spec = save({"decoder/bias": np.ones(3, np.float32), DECODER: vectors, "x": np.int8(0)}, version=version)
    table, described = load(spec), sources.describe(spec)
    assert table.vectors.numpy().tobytes() == vectors.tobytes()
    assert table.tokens == ["<unk>", " cat", " dog", "s"]
    assert table.rows(["cat", "s"]) == [1, 3]
    assert (described.tensor, described.shape, described.dtype) == (DECODER, (4, 8), dtype)
    assert described.bytes == vectors.nbytes


@pytest.mark.parametrize(("dtype", "scale"), [("int8", [2, 4, 8, 16]), ("int16", 64)])
def test_integers_are_divided_by_their_scale(save, dtype, scale):
    """int8 has a scale for each row, int16 one for all."""
    stored = np.random.default_rng(1).integers(-100, 100, (4, 8)).astype(dtype)
    table = load(save({DECODER: stored, f"{DECODER}_scale": np.array(scale, np.float32)}))
    assert table.vectors.tolist() == [
        [n / d for n in row] for row, d in zip(stored.tolist(), np.broadcast_to(scale, 4).tolist(), strict=True)
    ]
    assert table.provenance.notes[0] == f"stored as {dtype} with a scale, dequantized to float32"


@pytest.mark.parametrize(
    ("flag", "factor"), [(np.int8(1), 8**0.5), (np.int8(0), 1), (np.float32(3), 3), (np.float32(1), 1), (None, 1)]
)
def test_what_embeddings_are_multiplied_by_is_said(save, flag, factor):
    """A flag stands for the root of the width, a float for itself; vectors are read as stored."""
    flags = {} if flag is None else {"decoder/scale_embeddings": flag}
    table = load(save({DECODER: VECTORS, **flags}))
    assert table.provenance.scale == pytest.approx(factor)
    assert table.vectors.numpy().tobytes() == VECTORS.tobytes()


def test_of_two_embeddings_the_encoders_is_the_input(save, tmp_path):
    """A translator's input is its encoder's embedding under the source's tokens, also where it is only another name."""
    encoder = "encoder/embeddings_0/weight"
    spec = save({DECODER: -VECTORS, encoder: VECTORS})
    (tmp_path / "m" / "source_vocabulary.json").write_text(json.dumps(list("abcd")))
    assert load(spec).vectors.numpy().tobytes() == VECTORS.tobytes()
    assert load(spec).tokens == list("abcd")
    named = load(parse(f"{spec.text},tensor={DECODER}"))
    assert (named.tokens[1], bool((named.vectors == torch.from_numpy(-VECTORS)).all())) == (" cat", True)
    assert load(save({DECODER: -VECTORS}, aliases=[(encoder, DECODER)])).provenance.tensor == DECODER


def test_a_tokenizer_beside_the_model_names_the_rows(save, tmp_path, unigram):
    """A tokenizer.json in the folder is taken before the list."""
    vectors = np.ones((7, 4), np.float32)
    spec = save({DECODER: vectors})
    unigram.save(str(tmp_path / "m" / "tokenizer.json"))
    assert load(spec).rows(["cat"]) == [2]
    Path(spec.target, "tokenizer.json").unlink()
    Path(spec.target, "vocabulary.json").unlink()
    with pytest.raises(SourceError, match=r"vocabulary\.txt is beside the model; say where"):
        load(spec)
    unigram.save(str(tmp_path / "tokenizer.json"))
    assert load(parse(f"{spec.text},tokenizer={tmp_path}")).rows(["cat"]) == [2]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({DECODER: VECTORS.astype(np.int8)}, "quantized, and beside it is no scale"),
        (
            {DECODER: VECTORS.astype(np.int8), f"{DECODER}_scale": VECTORS[0, :3]},
            "quantized, and beside it is no scale",
        ),
        ({DECODER: VECTORS.astype(np.int32)}, "no matrix that can be read"),
        ({DECODER: VECTORS[0]}, "no matrix that can be read"),
        ({"x": VECTORS}, r"no variables called embeddings; .*x \[4, 8\] F32"),
        ({"a/embeddings/weight": VECTORS, "b/embeddings/weight": VECTORS}, "2 variables called embeddings"),
        ({DECODER: VECTORS[:3]}, "4 tokens but the matrix only 3 rows"),
    ],
)
def test_variables_that_are_no_table_are_refused(save, variables, message):
    """Integers without a scale, and what is no matrix or one of several, are refused with what to give."""
    with pytest.raises(SourceError, match=message):
        load(save(variables))
    with pytest.raises(SourceError, match="no variable 'y'"):
        load(save(variables, ",tensor=y"))


WHOLE = ct2_model({DECODER: VECTORS})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (WHOLE[:-1], "cut short"),
        (WHOLE[:30], "cut short"),
        (WHOLE + b"\0", "it ends at byte"),
        (ct2_model({DECODER: VECTORS}, version=3), "begins with 3"),
        (WHOLE[:30] + b"\xff" * 9 + WHOLE[39:], "promises|cut short|can't take"),
        (b"\x80\x02ctorch", "binary versions 4 to 6"),
        (b"<html>", "web page"),
    ],
)
def test_other_files_are_refused(save, content, message):
    """Files that are cut short, longer than they say, of an old version or of another kind are refused."""
    spec = save({DECODER: VECTORS})
    Path(spec.target, "model.bin").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        load(spec)


def test_a_folder_without_a_model_is_refused(tmp_path):
    """A folder that no converter wrote is refused."""
    with pytest.raises(SourceError, match=r"holds no model\.bin"):
        load(parse(f"ctranslate2:{tmp_path}"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("quantization", [None, "float16", "int8", "int16", "int8_float16"])
def test_the_converter_writes_what_is_read(tmp_path, quantization):
    """A GPT-2 that ctranslate2 converted has the original's embedding, but for the rounding of its type."""
    pytest.importorskip("ctranslate2")
    from ctranslate2.converters import TransformersConverter
    from tokenizers import Tokenizer, models
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = {word: row for row, word in enumerate(["<unk>", "<s>", "</s>", *(f"w{i}" for i in range(17))])}
    config = GPT2Config(vocab_size=20, n_embd=16, n_layer=1, n_head=2, n_positions=8, bos_token_id=1, eos_token_id=2)
    model = GPT2LMHeadModel(config)
    model.save_pretrained(tmp_path / "m")
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(tmp_path / "m")
    TransformersConverter(str(tmp_path / "m")).convert(str(tmp_path / "c"), quantization=quantization)
    table, original = load(parse(f"ctranslate2:{tmp_path / 'c'}")), model.transformer.wte.weight.detach()
    largest = original.abs().amax(1, keepdim=True) if "int8" in str(quantization) else original.abs().max()
    steps = {None: 0, "float16": 2**-11, "int16": 0.5 / 1024}.get(quantization, 0.5 / 127)
    assert ((table.vectors.float() - original).abs() <= steps * largest * 1.0001).all()
    assert table.tokens == list(words)
    assert table.rows(["w3"]) == [6]
