"""Models that lie in pieces: a tokenizer in another folder, an adapter with its base, a GGUF file in parts."""

from __future__ import annotations

import shutil

import gguf
import numpy as np
import pytest
import torch

from embcheck import sources
from embcheck.errors import SourceError
from embcheck.spec import parse

WORDS = [f"w{row}" for row in range(14)]


def load(text):
    return sources.load(parse(text), device="cpu")


# --- tokenizers in another folder -------------------------------------------------------------------------------


@pytest.fixture
def apart(save_model, wordpiece, matrix, tmp_path):
    """A checkpoint without a tokenizer, and a folder with nothing else."""
    save_model({"wte.weight": matrix(14)}, config={"vocab_size": 14})
    (tmp_path / "tokens").mkdir()
    wordpiece.save(str(tmp_path / "tokens" / "tokenizer.json"))
    return tmp_path


@pytest.mark.parametrize("model", ["model", "model/model.safetensors", "model/weights.bin"])
@pytest.mark.parametrize("tokenizer", ["tokens", "tokens/tokenizer.json"])
def test_a_tokenizer_may_lie_elsewhere(apart, matrix, model, tokenizer):
    """A folder or a file of weights takes its tokens from where ``tokenizer=`` says; its numbers stay its own."""
    torch.save({"wte.weight": matrix(14)}, apart / "model" / "weights.bin")
    table = load(f"{apart / model},tokenizer={apart / tokenizer}")
    assert torch.equal(table.vectors, matrix(14))
    assert table.tokens[3] == "cat"
    assert sources.describe(parse(f"{apart / model},tokenizer={apart / tokenizer}")).shape == (14, 4)


def test_a_tokenizer_that_is_named_counts_before_the_models_own(save_model, wordpiece, byte_level, matrix, tmp_path):
    """Where both are there, the one that the user names is read."""
    spec = save_model({"wte.weight": matrix(300)}, wordpiece)
    byte_level.save(str(tmp_path / "tokenizer.json"))
    assert load(f"{spec.text},tokenizer={tmp_path}").tokens[256] == " c"


def test_gguf_files_take_a_tokenizer_too(tmp_path, wordpiece, matrix):
    """A GGUF file without tokens says that one can be named, and is read with it."""
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_tensor("token_embd.weight", matrix(14).numpy())
    write(writer)
    with pytest.raises(SourceError, match=r"holds no tokens .*, or ,tokenizer=DIR"):
        load(f"gguf:{tmp_path / 'm.gguf'}")
    wordpiece.save(str(tmp_path / "tokenizer.json"))
    table = load(f"gguf:{tmp_path / 'm.gguf'},tokenizer={tmp_path}")
    assert (table.tokens[3], torch.equal(table.vectors, matrix(14))) == ("cat", True)


@pytest.mark.parametrize(
    ("model", "tokenizer"), [("run/checkpoint-5", "run"), ("sd/text_encoder_2", "sd/tokenizer_2"), ("x/y", None)]
)
def test_where_a_missing_tokenizer_lies_is_said(apart, model, tokenizer):
    """Of a trainer's checkpoint and of diffusers' text encoders the message names the folder that has it."""
    shutil.copytree(apart / "model", apart / model)
    if tokenizer is not None:
        shutil.copytree(apart / "tokens", apart / tokenizer, dirs_exist_ok=True)
    meant = "DIR" if tokenizer is None else apart / tokenizer
    with pytest.raises(SourceError, match=f"holds no tokenizer .*; or say where it is: ,tokenizer={meant}$"):
        load(str(apart / model))


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [("nowhere", "no such file or directory"), ("model", "holds no tokenizer"), ("model/config.json", "is not a")],
)
def test_a_tokenizer_that_is_none_is_refused(apart, tokenizer, message):
    """What is named and is no tokenizer is refused by its own name, and the model's is not read instead."""
    with pytest.raises(SourceError, match=message) as caught:
        load(f"{apart / 'model'},tokenizer={apart / tokenizer}")
    assert tokenizer in str(caught.value)


# --- GGUF in parts ----------------------------------------------------------------------------------------------


def write(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def parts(tmp_path, matrix):
    """Three files of one model, as the library splits them: tokens in the first, the embedding in the second."""
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama", split_max_tensors=1)
    writer.add_tokenizer_model("none")
    writer.add_token_list(WORDS)
    for name, rows in (("output_norm.weight", 1), ("token_embd.weight", 14), ("blk.0.attn_q.weight", 4)):
        writer.add_tensor(name, np.ascontiguousarray(matrix(rows).numpy()))
    write(writer)
    return sorted(tmp_path.glob("m-*.gguf"))


@pytest.mark.parametrize("named", range(3))
def test_any_part_of_a_split_file_stands_for_the_model(parts, matrix, named):
    """Tokens and embedding are found whichever part is named."""
    assert len(parts) == 3
    table = load(f"gguf:{parts[named]}")
    assert torch.equal(table.vectors, matrix(14))
    assert list(table.tokens) == WORDS


@pytest.mark.parametrize(("gone", "message"), [(0, "holds no tokens"), (1, "has no tensor 'token_embd.weight'")])
def test_the_part_that_is_missing_is_named(parts, gone, message):
    """Where tokens or embedding lie in a part that is not there, the message names it."""
    parts[gone].unlink()
    with pytest.raises(SourceError, match=rf"{message}.*put .*{parts[gone].name} beside it"):
        load(f"gguf:{parts[2]}")
