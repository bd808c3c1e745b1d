"""Ways out that messages name are walked: what they say to give or to do leads to a table."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import struct
import subprocess
import sys
import warnings

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers

from embcheck import sources
from embcheck.errors import EmbcheckError, SourceError
from embcheck.spec import parse


def load(text):
    return sources.load(parse(str(text)), device="cpu")


# --- GGUF in parts ----------------------------------------------------------------------------------------------


@pytest.fixture
def split(tmp_path):
    """A GGUF model in three parts, as gguf-split writes it: tokens alone in the first, a matrix in each other one."""

    def write(architecture="llama"):
        made = {}
        for part, names in enumerate([[], ["token_embd.weight"], ["output.weight"]]):
            path = tmp_path / f"m-{part + 1:05d}-of-00003.gguf"
            writer = gguf.GGUFWriter(path, architecture)
            if not part:
                writer.add_tokenizer_model("none")
                writer.add_token_list([f"t{i}" for i in range(6)])
            writer.add_uint16("split.no", part)
            writer.add_uint16("split.count", 3)
            for name in names:
                made[name] = np.full((6, 4), part, dtype=np.float32) + np.eye(6, 4, dtype=np.float32)
                writer.add_tensor(name, made[name])
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
        return made

    return write


@pytest.mark.parametrize("part", [1, 2, 3])
def test_each_part_of_a_gguf_model_is_the_model(split, tmp_path, part):
    """Whichever part is given, an empty first one too, the matrix is read from the part that it lies in."""
    made = split()
    spec = f"gguf:{tmp_path}/m-{part:05d}-of-00003.gguf"
    assert np.array_equal(load(spec).vectors.numpy(), made["token_embd.weight"])
    output = load(f"{spec},matrix=output")
    assert np.array_equal(output.vectors.numpy(), made["output.weight"])
    assert not any("tied" in note for note in output.provenance.notes)
    described = sources.describe(parse(f"{spec},matrix=output"))
    assert described.files == ("m-00003-of-00003.gguf",)
    assert described.bytes_total == sum(os.path.getsize(p) for p in tmp_path.glob("*.gguf"))  # noqa: PTH202


@pytest.mark.parametrize(("gone", "options"), [(1, ""), (2, ""), (3, ",matrix=output")])
def test_a_lost_part_of_a_gguf_model_is_named(split, tmp_path, gone, options):
    """What lies in a part that is not there is not said to be tied; the message names the part to put there."""
    split()
    lost = tmp_path / f"m-{gone:05d}-of-00003.gguf"
    kept, content = tmp_path / f"m-{gone % 3 + 1:05d}-of-00003.gguf", lost.read_bytes()
    lost.unlink()
    with pytest.raises(SourceError, match=f"put {lost.name} beside it"):
        load(f"gguf:{kept}{options}")
    lost.write_bytes(content)
    assert load(f"gguf:{kept}{options}").width == 4


def test_a_headless_gguf_model_has_no_output(tmp_path):
    """An encoder's GGUF file is not said to have an output matrix that is tied."""
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "bert")
    writer.add_tokenizer_model("none")
    writer.add_token_list(["a", "b"])
    writer.add_tensor("token_embd.weight", np.eye(2, 4, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(SourceError, match="a model of kind bert has no output matrix; leave out matrix=output"):
        load(f"gguf:{tmp_path}/m.gguf,matrix=output")
    assert load(f"gguf:{tmp_path}/m.gguf").width == 4


# --- older tokenizers -------------------------------------------------------------------------------------------


@pytest.fixture
def bare_model(save_model, matrix, tmp_path):
    """Weights with a config and no tokenizer."""
    save_model({"wte.weight": matrix(14)}, config={"model_type": "llama", "vocab_size": 14})
    return tmp_path / "model"


@pytest.mark.parametrize(
    ("name", "content", "packages"),
    [
        ("tokenizer.model", b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02", ["sentencepiece", "protobuf"]),
        ("tokenizer.model", b"IQ== 0\nIg== 1\n", ["tiktoken"]),
        ("tekken.json", b'{"config": {}, "vocab": []}', ["mistral-common"]),
    ],
)
def test_the_packages_that_older_tokenizers_need_are_named(bare_model, monkeypatch, name, content, packages):
    """The message names every package that reads the files which are there, and none where all are installed."""
    (bare_model / name).write_bytes(content)
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(SourceError, match=f"pip install {' '.join(packages)}, or save it as a fast tokenizer"):
        load(bare_model)
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: module)
    with pytest.raises(SourceError, match=r"\); save it as a fast tokenizer"):
        load(bare_model)


@pytest.mark.parametrize(
    "config", [{"model_type": "bert", "hidden_size": "wide"}, {"model_type": "bert", "vocab_size": []}]
)
def test_a_config_that_a_library_refuses_is_one_line(bare_model, config):
    """A vocab.txt beside a config of wrong types, which transformers' own classes refuse, is a one-line error."""
    (bare_model / "config.json").write_text(json.dumps(config))
    (bare_model / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncat\n")
    with pytest.raises(EmbcheckError) as caught:
        load(bare_model)
    assert "\n" not in str(caught.value)


# --- other libraries' files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cutoff", [False, True])
def test_a_quantized_fasttext_bin_is_named(tmp_path, cutoff):
    """A .ftz file is called quantized, with a cutoff or without one, and not truncated."""
    header = struct.pack(
        "<2i12id3i2q", 793712314, 12, 16, *[0] * 7, 2_000_000, 3, 6, 0, 1e-4, 2, 2, 0, 9, 2 if cutoff else -1
    )
    (tmp_path / "m.ftz").write_bytes(header + b"\0" * 500)
    with pytest.raises(SourceError, match="is a quantized fastText model"):
        load(f"gensim:{tmp_path}/m.ftz")


def test_megatrons_nesting_is_followed(tmp_path, wordpiece, matrix):
    """A table five dictionaries deep, as Megatron keeps it, is found."""
    held = {"embedding": {"word_embeddings": {"weight": matrix(14)}, "position_embeddings": {"weight": matrix(9)}}}
    torch.save({"iteration": 3, "model": {"language_model": held}}, tmp_path / "model_optim_rng.pt")
    wordpiece.save(str(tmp_path / "tokenizer.json"))
    table = load(tmp_path)
    assert table.provenance.tensor == "model.language_model.embedding.word_embeddings.weight"
    assert torch.equal(table.vectors, matrix(14))


def test_empty_tensors_of_zero_3_are_named(save_model, wordpiece):
    """Tensors without numbers, which DeepSpeed's ZeRO-3 leaves, are named with the script that gathers them."""
    spec = save_model({"model.embed_tokens.weight": torch.zeros(0), "lm_head.weight": torch.zeros(0)}, wordpiece)
    for options in ("", ",matrix=output"):
        with pytest.raises(SourceError, match=r"weight \[0\] F32 is empty, .* zero_to_fp32\.py"):
            load(f"{spec.text}{options}")


def test_a_bare_name_is_a_model_of_the_hub_where_no_such_path_is(tmp_path, monkeypatch):
    """A name without an owner means a directory of that name or, where there is none, a model of the hub."""
    monkeypatch.chdir(tmp_path)
    routed = sources.route(parse("gpt2@v1"))
    assert (routed.scheme, routed.target, routed.revision) == ("hf", "gpt2", "v1")
    sources.check(parse("gpt2"))
    (tmp_path / "gpt2").mkdir()
    assert sources.route(parse("gpt2")).scheme == "directory"
    for path in ("./gpt3", "a/b/gpt2", "model.npy"):
        with pytest.raises(SourceError, match=f"no such file or directory: {re.escape(path)}$"):
            load(path)


def test_home_is_known_wherever_a_spec_has_a_path(tmp_path, monkeypatch):
    """``~`` behind an alias, a scheme or an option, where no shell reads it, is the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "v.npy", np.eye(3, dtype=np.float32))
    (tmp_path / "w.txt").write_text("a\nb\nc\n")
    (tmp_path / "w.vec").write_text("3 2\na 1 0\nb 0 1\nc 1 1\n")
    assert load("m=npy:~/v.npy,vocab=~/w.txt").tokens == ["a", "b", "c"]
    assert len(load("m=fasttext:~/w.vec").vectors) == 3
    assert sources.route(parse("m=~/gone")).scheme == "directory"


def test_a_deleted_working_directory_is_wrong_usage(tmp_path):
    """A command in a working directory that is gone ends in one line and exit code 4."""
    script = (
        f"import os, sys, tempfile; os.chdir(gone := tempfile.mkdtemp(dir={str(tmp_path)!r})); os.rmdir(gone); "
        "from embcheck.cli import main; sys.exit(main())"
    )
    for command in (["inspect", "random:30x4"], ["list"], ["check", "random:30x4"]):
        run = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=False)
        assert run.returncode == 4, run.stderr
        assert "the working directory can't be used" in run.stderr


# --- sentence-transformers' other modules -----------------------------------------------------------------------

st = pytest.importorskip("sentence_transformers", reason="the st extra is not installed")


def quietly(make):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


def test_the_way_out_of_word_embeddings_is_walked(tmp_path):
    """What the message says to make of a WordEmbeddings module makes a table of its words."""
    from sentence_transformers.sentence_transformer.modules import Pooling, WordEmbeddings
    from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer

    def make():
        words = WordEmbeddings(WhitespaceTokenizer(["cat", "dog"], stop_words=[]), torch.eye(2, 4).numpy())
        st.SentenceTransformer(modules=[words, Pooling(4)]).save(str(tmp_path / "m"))

    quietly(make)
    with pytest.raises(
        SourceError, match=r"WordEmbeddings.*save its table as word vectors .* give npy:FILE,vocab=FILE"
    ):
        load(f"st:{tmp_path}/m")
    saved = {path.name: path for path in (tmp_path / "m").rglob("*") if "Pooling" not in str(path)}
    config = json.loads(saved["whitespacetokenizer_config.json"].read_text())
    np.save(tmp_path / "v.npy", load_file(saved["model.safetensors"])["emb_layer.weight"].numpy())
    (tmp_path / "words.json").write_text(json.dumps(config["vocab"]))
    table = load(f"npy:{tmp_path}/v.npy,vocab={tmp_path}/words.json")
    assert list(table.tokens) == ["cat", "dog"]
    assert table.vectors.tolist() == torch.eye(2, 4).tolist()


def test_the_way_out_of_a_router_is_walked(tmp_path):
    """What the message says to give for a Router can be given: the table of one of its parts."""
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    def make():
        tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "cat": 1, "dog": 2}, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        parts = [StaticEmbedding(tokenizer, embedding_dim=4) for _ in range(2)]
        router = Router.for_query_document(query_modules=[parts[0]], document_modules=[parts[1]])
        st.SentenceTransformer(modules=[router]).save(str(tmp_path / "m"))

    quietly(make)
    with pytest.raises(SourceError, match="Router") as caught:
        load(f"st:{tmp_path}/m")
    given = str(caught.value).split("give the table of one of its parts, as ")[1]
    assert load(given).width == 4


def test_a_module_of_another_kind_is_pointed_to_its_weights(save_model, wordpiece, matrix, tmp_path):
    """For a class that is not run, the directory that the message says to give can be given."""
    save_model({"wte.weight": matrix(14)}, wordpiece)
    listed = [{"idx": 0, "name": "0", "path": "model", "type": "mine.Transformer"}]
    (tmp_path / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(SourceError, match=r"asks for mine\.Transformer") as caught:
        load(f"st:{tmp_path}")
    given = str(caught.value).split("; give ")[1].split(" to check")[0]
    assert torch.equal(load(given).vectors, matrix(14))
