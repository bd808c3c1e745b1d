"""Small files that would take a machine's time and memory, and files that change while they are read."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from gensim.models import KeyedVectors
from safetensors.torch import save_file

from embcheck import sources
from embcheck.errors import EmbcheckError, SourceError
from embcheck.files import refuse_changed
from embcheck.run.session import Model, Session
from embcheck.settings import Settings
from embcheck.sources.files import LocalBytes
from embcheck.sources.gguf.header import read_header
from embcheck.sources.naming.model_code import held_as_input
from embcheck.sources.words.npy import open_matrix
from embcheck.spec import parse

SIZES = {"vocab_size": 8, "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 8}
NESTED = b"".join(
    [b"\x80\x02K\x01q\x00", *(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60))]
)


def refusal(spec):
    """The one short line that loading a spec ends in, within seconds."""
    began = time.monotonic()
    with pytest.raises(EmbcheckError) as caught:
        sources.load(parse(spec), device="cpu")
    assert time.monotonic() - began < 20
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < 2_100
    return line


@pytest.mark.parametrize(
    "ends",
    [
        b"Q.",  # a reference outside: (nested,) * 5 is asked for below
        b"h<h<h<h<h<t(Q.",
        b"(h<h<h<h<h<tQ.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(h<h<h<h<tR.",
        b"ccollections\nOrderedDict\n(h<tR.",
    ],
    ids=range(5),
)
@pytest.mark.parametrize("scheme", ["legacy", "gensim"])
def test_tuples_that_share_their_parts_end(tmp_path, scheme, ends):
    """A pickle of 60 tuples of tuples, 2**60 values written out, is refused as quickly as any other."""
    content = NESTED + ends
    if scheme == "gensim":
        (tmp_path / "m.kv").write_bytes(content)
        refusal(f"gensim:{tmp_path / 'm.kv'}")
    else:
        magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
        (tmp_path / "pytorch_model.bin").write_bytes(magic + content + pickle.dumps([], 2))
        refusal(str(tmp_path))


def test_long_names_make_short_lines(save_model, wordpiece, matrix):
    """Names of 5 MB are quoted by their beginning."""
    long = "x" * 5_000_000
    line = refusal(save_model({f"a.{long}": matrix(14), f"b.{long}": matrix(14)}, wordpiece).text)
    assert len(line) < 2_100


def tokenizer(change):
    """A tokenizer.json that is changed."""
    vocabulary = {token: row for row, token in enumerate([*"abcdefg", "[UNK]"])}
    document = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": None, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }  # fmt: skip
    change(document)
    return json.dumps(document)


DOUBLE = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(normalizer={"type": "Sequence", "normalizers": [DOUBLE] * 28}), "steps"),
        (lambda d: d.update(decoder={"type": "Sequence", "decoders": [DOUBLE] * 28}), "steps"),
        (lambda d: d.update(normalizer={**DOUBLE, "content": "a" * 1_000_000}), "steps"),
        (lambda d: d["model"]["vocab"].update({"z" * 10_000_000: 6}), "longer than"),
        (lambda d: d["model"]["vocab"].update({"z" * 100_000: 6}), "a token of 100000 characters"),
    ],
    ids=["normalizer", "decoder", "content", "text", "token"],
)
def test_tokenizers_that_grow_are_refused(tmp_path, change, says):
    """Steps that make gigabytes of one word, and tokens as long as books, are refused."""
    save_file({"wte.weight": torch.rand(8, 4)}, tmp_path / "model.safetensors")
    (tmp_path / "tokenizer.json").write_text(tokenizer(change))
    assert says in refusal(str(tmp_path))


@pytest.mark.parametrize("name", ["tokenizer.json", "words.txt", "config.json"])
def test_sparse_files_are_not_read(tmp_path, name):
    """A file that says it has a terabyte is refused by its size."""
    save_file({"wte.weight": torch.rand(8, 4)}, tmp_path / "model.safetensors")
    np.save(tmp_path / "m.npy", np.ones((8, 4), np.float32))
    (tmp_path / "tokenizer.json").write_text(tokenizer(lambda _: None))
    with (tmp_path / name).open("wb") as file:
        file.truncate(2**40)
    spec = f"npy:{tmp_path / 'm.npy'},vocab={tmp_path / name}" if name == "words.txt" else str(tmp_path)
    assert "larger than" in refusal(spec)


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        {**SIZES, "model_type": "albert", "inner_group_num": 10**8, "embedding_size": 8},
        {**SIZES, "model_type": "bert", "num_labels": 10**9},
    ],
    ids=["groups", "labels"],
)
def test_configs_that_ask_for_everything_are_not_asked(config, monkeypatch):
    """A model's code runs within limits of time and memory."""
    monkeypatch.setattr("embcheck.sources.bounded._SECONDS", 20)
    began = time.monotonic()
    assert held_as_input(config, ["embeddings.word_embeddings.weight"]) == []
    assert time.monotonic() - began < 40


@pytest.mark.parametrize("kind", ["folder", "dangling", "binary", "scale"])
def test_a_config_that_is_none_is_said(save_model, wordpiece, matrix, kind, tmp_path):
    """A config.json that is a folder, a dangling link, binary or of endless numbers is not passed over."""
    spec = save_model({"wte.weight": matrix(14)}, wordpiece)
    path = tmp_path / "model" / "config.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "dangling":
        path.symlink_to("nowhere")
    else:
        path.write_bytes(b"\x80\x02\x00" if kind == "binary" else b'{"scale_emb": 1' + b"0" * 400 + b"}")
    assert "config.json" in refusal(spec.text)


class Bytes:
    """A file in memory."""

    def __init__(self, content):
        self.name, self.size, self._content = "m.gguf", len(content), content

    def read(self, start, length):
        """A part of it."""
        return memoryview(self._content)[start : start + length]


@pytest.mark.parametrize(("change", "says"), [(0, "overlap"), (4, "multiple of 32")])
def test_gguf_tensors_lie_apart_and_aligned(tmp_path, change, says):
    """Tensors of a GGUF file that share bytes, or begin where none does, are refused."""
    from gguf import GGUFWriter

    writer = GGUFWriter(str(tmp_path / "m.gguf"), "llama")
    writer.add_tensor("a.weight", np.ones((8, 32), np.float32))
    writer.add_tensor("b.weight", np.ones((8, 32), np.float32))
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    content = (tmp_path / "m.gguf").read_bytes()
    old = (1024).to_bytes(8, "little")
    assert content.count(old) == 1
    with pytest.raises(SourceError, match=says):
        read_header(Bytes(content.replace(old, change.to_bytes(8, "little"))))


def test_a_part_without_a_number_is_said(tmp_path):
    """A part of a GGUF model whose own number is none is refused like any file without an embedding."""
    from gguf import GGUFWriter

    writer = GGUFWriter(str(tmp_path / "m.gguf"), "llama")
    writer.add_uint16("split.count", 2)
    writer.add_float32("split.no", float("nan"))
    writer.add_tensor("b.weight", np.ones((8, 32), np.float32))
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    assert "no tensor" in refusal(f"gguf:{tmp_path / 'm.gguf'}")


@pytest.mark.parametrize("how", ["written", "truncated"])
def test_a_file_that_changes_is_an_error(tmp_path, how):
    """A file that is written to between two checks gives errors, not numbers of which some are old."""
    from embcheck.checks import collect

    rows = 40_000
    save_file({"wte.weight": torch.rand(rows, 64)}, tmp_path / "model.safetensors")
    os.utime(tmp_path / "model.safetensors", (0, 0))  # old enough to be mapped
    (tmp_path / "tokenizer.json").write_text(tokenizer(lambda _: None))
    model = Model(parse(str(tmp_path)), lambda: sources.load(parse(str(tmp_path)), device="cpu", population="all"))
    session = Session([model], Settings(probes=50))
    (check,) = collect.collect(globs=["normalization"])
    assert session.measure(check, model).verdict != "error"
    time.sleep(0.02)
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.truncate(2**20) if how == "truncated" else file.write(b"x")
    result = session.measure(check, model)
    assert result.verdict == "error"
    assert "changed while it was being read" in result.reason


@pytest.mark.parametrize("kind", ["safetensors", "npy", "gensim"])
def test_a_file_that_is_cut_short_in_a_pass_ends_no_process(tmp_path, kind):
    """What was written of late is copied: cut short in the middle of a check, it gives the numbers that it had."""
    vectors, words = torch.rand(40_000, 64), [f"w{row}" for row in range(40_000)]
    spec, file = write_young(tmp_path, kind, vectors, words)
    (tmp_path / "cut.py").write_text(
        "import os\nfrom embcheck import Estimate, above, claim\n@claim(above(0))\ndef toy_cut(table):\n"
        f'    "Says."\n    os.truncate({str(file)!r}, 5_000)\n'
        "    return Estimate.exact(float(table.vectors.double().sum()))\n"
    )
    code, result = check_cut(tmp_path, spec)
    assert code == 0, result
    assert result["estimate"]["value"] == pytest.approx(float(vectors.double().sum()), rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["safetensors", "npy", "gensim"])
def test_an_old_file_that_is_cut_short_in_a_pass_is_an_error_in_the_next_block(tmp_path, kind):
    """What is mapped is looked at before each block: the check is an error and the report is written."""
    vectors, words = torch.rand(40_000, 64), [f"w{row}" for row in range(40_000)]
    spec, file = write_young(tmp_path, kind, vectors, words)
    os.utime(file, (0, 0))
    (tmp_path / "cut.py").write_text(
        "import os\nfrom embcheck import Estimate, above, claim\nfrom embcheck.measures.kernels.blocks import blocks\n"
        '@claim(above(0))\ndef toy_cut(table):\n    "Says."\n    total, steps = 0.0, blocks(table)\n'
        f"    next(steps)\n    os.truncate({str(file)!r}, 5_000)\n    for _, unit in steps:\n"
        "        total += float(unit.sum())\n    return Estimate.exact(total)\n"
    )
    code, result = check_cut(tmp_path, spec)
    assert code == 1, result
    assert result["verdict"] == "error"
    assert "changed while it was being read" in result["reason"]


def check_cut(folder, spec):
    """Exit code and result of the property in cut.py, run in a process that the system may end."""
    finished = subprocess.run(
        [sys.executable, "-m", "embcheck", "check", f"m={spec}", "--properties", "cut.py", "--property", "toy_cut",
         "--json", "out.json", "--population", "all"], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert finished.returncode >= 0, f"ended by signal {-finished.returncode}"
    (result,) = json.loads((folder / "out.json").read_text())["models"][0]["results"]
    return finished.returncode, result


def write_young(folder, kind, vectors, words):
    """A model that was just written: its spec, and its file of vectors."""
    if kind == "safetensors":
        (folder / "m").mkdir()
        save_file({"wte.weight": vectors}, folder / "m" / "model.safetensors")
        (folder / "m" / "tokenizer.json").write_text(tokenizer(lambda _: None))
        return "./m", folder / "m" / "model.safetensors"
    if kind == "npy":
        np.save(folder / "m.npy", vectors.numpy())
        (folder / "words.txt").write_text("\n".join(words))
        return "npy:m.npy,vocab=words.txt", folder / "m.npy"
    keyed = KeyedVectors(64)
    keyed.add_vectors(words, vectors.numpy())
    keyed.save(str(folder / "m.kv"), sep_limit=2**20)
    return "gensim:m.kv", folder / "m.kv.vectors.npy"


@pytest.mark.parametrize("is_old", [False, True])
def test_a_file_that_changes_before_its_table_is_read(tmp_path, is_old):
    """A file that is written to after its header was read is refused in one line, whether copied or mapped."""
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(6 * 2**20))
    if is_old:
        os.utime(path, (0, 0))
    access = LocalBytes(path)
    access.read(0, 8)
    os.truncate(path, 5 * 2**20)
    with pytest.raises(SourceError, match="changed while it was being read; run again once it is written"):
        _ = refuse_changed() if is_old else access.read(2**20, 5 * 2**20)
    assert access.size == 6 * 2**20


def test_a_matrix_that_changes_is_an_error(tmp_path):
    """A .npy file that is written to while it is mapped is refused as any other."""
    np.save(tmp_path / "m.npy", np.ones((40_000, 64), np.float32))
    os.utime(tmp_path / "m.npy", (0, 0))
    matrix = open_matrix(tmp_path / "m.npy")
    os.truncate(tmp_path / "m.npy", 5_000_000)
    with pytest.raises(SourceError, match="changed while it was being read"):
        refuse_changed()
    assert matrix.shape == (40_000, 64)


def test_a_file_that_is_replaced_is_whole(tmp_path):
    """A new file under the old name changes nothing of what is being read."""
    from embcheck.checks import collect

    save_file({"wte.weight": torch.rand(40_000, 64)}, tmp_path / "model.safetensors")
    (tmp_path / "tokenizer.json").write_text(tokenizer(lambda _: None))
    model = Model(parse(str(tmp_path)), lambda: sources.load(parse(str(tmp_path)), device="cpu", population="all"))
    session = Session([model], Settings(probes=50))
    (check,) = collect.collect(globs=["normalization"])
    session.loaded(model)
    save_file({"wte.weight": torch.rand(40_000, 64)}, tmp_path / "new")
    (tmp_path / "new").replace(tmp_path / "model.safetensors")
    assert session.measure(check, model).verdict != "error"
