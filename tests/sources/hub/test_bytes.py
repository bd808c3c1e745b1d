"""How much is moved from the hub: the table and little else, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest
import torch
from huggingface_hub import constants, snapshot_download

from embcheck import sources
from embcheck.errors import SourceError
from embcheck.spec import parse
from embcheck.table.table import weights_sha256

KB = 1024


def load(text):
    return sources.load(parse(text), device="cpu")


@pytest.mark.parametrize("shards", [1, 12])
def test_safetensors_move_little_more_than_the_table(hub, client, publish, shards):
    """From an empty cache the weights moved are at most the table and 128 KB, in one file or twelve."""
    stored = publish(shards=shards)
    table = load("org/model")
    assert torch.equal(table.vectors, stored)
    assert stored.nbytes < hub.weights_moved() <= stored.nbytes + 128 * KB
    origin = table.provenance
    assert (origin.revision, origin.tensor, origin.source) == (
        hub.repos["org/model"].commit, "model.embed_tokens.weight", "hf",
    )  # fmt: skip


@pytest.mark.parametrize("legacy", [False, True])
def test_pickled_weights_move_little_more_than_the_table(hub, client, publish, make, legacy):
    """Of a pytorch_model.bin, in torch's zip format or the one before, at most 256 KB beside the table are moved."""
    stored = make.matrix(dtype=torch.float32)
    publish(files={"pytorch_model.bin": make.pickled(stored, legacy=legacy)})
    assert torch.equal(load("hf:org/model").vectors, stored)
    assert hub.weights_moved() <= stored.nbytes + 256 * KB


@pytest.mark.parametrize(
    "spec", ["gguf:org/model/q.gguf", "hf:org/model/q.gguf", "org/model", "hf:org/model@main/q.gguf"]
)
def test_gguf_moves_the_header_and_the_table(hub, client, publish, make, spec):
    """Of a GGUF file on the hub, however it is named, the header and the table are moved, and then nothing."""
    stored = make.matrix(dtype=torch.float32)
    publish(files={"q.gguf": make.gguf(stored)})
    told = sources.describe(parse(spec))
    table = load(spec)
    assert torch.equal(table.vectors, stored)
    assert (told.tensor, told.bytes, told.files) == ("token_embd.weight", stored.nbytes, ("q.gguf",))
    assert table.provenance.revision == told.revision == hub.repos["org/model"].commit
    assert hub.weights_moved() <= stored.nbytes + 300 * KB
    hub.moved.clear()
    load(spec)
    assert hub.weights_moved() == 0


@pytest.mark.parametrize("shards", [1, 12])
def test_a_second_run_moves_nothing(hub, client, publish, shards):
    """What was read once is read from disk, byte for byte the same."""
    publish(shards=shards)
    first = load("org/model").provenance.weights_sha256
    hub.moved.clear()
    assert load("org/model").provenance.weights_sha256 == first
    assert hub.weights_moved() == 0


def test_a_commit_that_is_known_needs_no_hub(hub, client, publish, point_to):
    """A revision given as a commit is read without any request once it was read before."""
    publish()
    first = load(f"org/model@{hub.repos['org/model'].commit}")
    point_to("http://127.0.0.1:9")
    again = load(f"org/model@{first.provenance.revision}")
    assert again.provenance.weights_sha256 == first.provenance.weights_sha256


def test_describe_moves_only_headers(hub, client, publish):
    """What would be read is told before it is: the tensor, its bytes, and of how many."""
    stored = publish(shards=12)
    told = sources.describe(parse("org/model"))
    assert (told.tensor, told.shape, told.dtype) == ("model.embed_tokens.weight", (16384, 128), "bfloat16")
    assert told.bytes == stored.nbytes
    sizes = {name: len(content) for name, content in hub.repos["org/model"].files.items()}
    assert told.bytes_total == sum(size for name, size in sizes.items() if name.endswith(".safetensors"))
    assert told.files == ("model-00007-of-00012.safetensors", "config.json", "tokenizer.json")
    assert told.revision == hub.repos["org/model"].commit
    assert hub.weights_moved() <= 128 * KB


def test_the_ordinary_cache_comes_first(hub, client, publish):
    """A model that another program has downloaded whole is read from there, and nothing is moved."""
    stored = publish(shards=3)
    snapshot_download("org/model")
    hub.moved.clear()
    assert torch.equal(load("org/model").vectors, stored)
    assert set(hub.moved) == {"api"}
    assert not list(client.glob("embcheck/*/*/*/*/*"))


def test_the_cache_can_be_elsewhere(hub, client, publish, tmp_path, monkeypatch):
    """EMBCHECK_CACHE names the directory of the parts that are kept."""
    monkeypatch.setenv("EMBCHECK_CACHE", str(tmp_path / "own"))
    stored = publish()
    load("org/model")
    assert sum(p.stat().st_size for p in (tmp_path / "own").rglob("*-*") if p.is_file()) >= stored.nbytes
    assert not (client / "embcheck").exists()


@pytest.mark.parametrize("fault", [{"drops": 2}, {"errors": 2}, {"drops": 3, "errors": 2}])
def test_interrupted_transfers_go_on(hub, client, publish, fault, monkeypatch):
    """Connections dropped in the middle of the table, and servers that fail for a moment, change no byte of it."""
    monkeypatch.setattr("embcheck.sources.hub.ranges._CHUNK", 2**20)
    monkeypatch.setattr("embcheck.sources.hub.ranges._LONGEST_WAIT", 0.01)
    stored = publish()
    for name, value in fault.items():
        setattr(hub.faults, name, value)
    table = load("org/model")
    assert table.provenance.weights_sha256 == weights_sha256(stored)
    assert not any(getattr(hub.faults, name) for name in fault)
    assert hub.weights_moved() <= stored.nbytes + 640 * KB


def test_chunks_are_small(hub, client, publish, monkeypatch):
    """No request asks for more than a chunk, and what is asked for lies end to end."""
    monkeypatch.setattr("embcheck.sources.hub.ranges._CHUNK", 2**20)
    stored = publish()
    load("org/model")
    asked = [
        tuple(map(int, r[2].removeprefix("bytes=").split("-")))
        for r in hub.requests
        if r[0] == "GET" and r[1] == "model.safetensors"
    ]
    large = [(a, b) for a, b in asked if b - a >= 2**15]
    assert max(b - a + 1 for a, b in large) == 2**20
    assert large[-1][1] - large[0][0] + 1 == stored.nbytes
    assert all(before[1] + 1 == after[0] for before, after in pairwise(large))


@pytest.mark.slow
def test_killed_in_the_middle(hub, client, publish, environment):
    """A process that is killed while it reads the table leaves nothing that a later one takes for the table."""
    stored = publish()
    hub.faults.pause = 0.02
    code = "from embcheck import sources; from embcheck.spec import parse; sources.load(parse('hf:org/model'))"
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **environment})
    deadline = time.monotonic() + 60
    while hub.weights_moved() < stored.nbytes // 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert stored.nbytes // 3 <= hub.weights_moved() < stored.nbytes
    hub.faults.pause = 0
    assert torch.equal(load("hf:org/model").vectors, stored)


def test_leftovers_are_removed(hub, client, publish):
    """Parts that killed processes left are removed by a later run, once they are an hour old."""
    publish()
    load("org/model")
    [table] = [p for p in client.glob("embcheck/**/*-*") if p.is_file() and p.stat().st_size > 2**20]
    table.unlink()
    old, young = (table.with_name(f".{table.name}.{age}.tmp") for age in ("old", "young"))
    for part in (old, young):
        part.write_bytes(b"x")
    os.utime(old, (0, 0))
    load("org/model")
    assert (old.exists(), young.exists(), table.exists()) == (False, True, True)


def test_a_token_goes_to_the_hub_and_no_further(hub, client, publish, monkeypatch):
    """HF_TOKEN opens a private model, and is not sent where the hub redirects to."""
    publish(token="hf_secret")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    load("org/model")
    assert {sent for _, path, sent in hub.requests if path.startswith("/")} == {"Bearer hf_secret"}


def test_offline_reads_what_is_kept(hub, client, publish, monkeypatch):
    """With HF_HUB_OFFLINE a model that was read before is read again, as it was last seen, and this is noted."""
    publish()
    first = load("org/model")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    again = load("org/model")
    assert again.provenance.weights_sha256 == first.provenance.weights_sha256
    assert again.provenance.revision == first.provenance.revision
    assert "the hub was not asked: main is as last seen" in again.provenance.notes
    assert not hub.requests


def test_a_hub_that_is_away_is_no_matter_once_all_is_kept(hub, client, publish, point_to):
    """Where the hub can't be reached, what was read before is read again."""
    publish()
    first = load("org/model")
    point_to("http://127.0.0.1:9")
    assert load("org/model").provenance.weights_sha256 == first.provenance.weights_sha256


def test_a_moved_branch_is_read_anew(hub, client, publish, make):
    """A revision that has moved to another commit is read at that one."""
    publish()
    load("org/model")
    other = publish(embedding=make.matrix(rows=8192))
    table = load("org/model")
    assert torch.equal(table.vectors, other)
    assert table.provenance.revision == hub.repos["org/model"].commit


def test_a_directory_comes_before_the_hub(hub, client, publish, tmp_path, monkeypatch):
    """A name that is a directory here is read from disk; ``hf:`` asks the hub all the same."""
    stored = publish()
    (tmp_path / "org" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="holds no weights"):
        load("org/model")
    assert not hub.requests
    assert torch.equal(load("hf:org/model@main").vectors, stored)


@pytest.mark.parametrize("files", ["safetensors", "pickled", "gguf"])
def test_one_layers_weights_move_little_more_than_themselves(hub, client, publish, make, files):
    """Weights of a layer come by their own byte range, from safetensors, pickled weights or GGUF, and only once."""
    embedding, up = make.matrix(dtype=torch.float32), make.matrix(1024, 128, torch.float32)
    name, table_name = "model.layers.1.mlp.up_proj.weight", "model.embed_tokens.weight"
    if files == "safetensors":
        publish(files={"model.safetensors": make.safetensors({name: up, table_name: embedding})})
    elif files == "pickled":
        publish(files={"pytorch_model.bin": make.pickled(embedding, more={name: up})})
    else:
        publish(files={"q.gguf": make.gguf(embedding, {"blk.1.ffn_up.weight": up})})
    table = load("org/model")
    before, read = hub.weights_moved(), table.bytes_read
    assert before <= embedding.nbytes + 300 * KB
    for _ in range(2):
        assert torch.equal(table.tensor("mlp_in", 1), up)
    assert up.nbytes <= hub.weights_moved() - before <= up.nbytes + 64 * KB
    assert table.bytes_read == read + up.nbytes
    moved = hub.weights_moved()
    assert torch.equal(load("org/model").tensor("mlp_in", -1), up)
    assert hub.weights_moved() == moved


def test_an_adapter_moves_its_own_part_and_the_bases_embedding(hub, client, publish, make, tmp_path):
    """Of base and adapter on the hub the table and the adapter's share of it are moved, wherever the adapter lies."""
    stored = publish(shards=12)
    parts = {
        "base_model.model.model.embed_tokens.lora_embedding_A": torch.randn(2, len(stored)),
        "base_model.model.model.embed_tokens.lora_embedding_B": torch.randn(stored.shape[1], 2),
    }
    files = {
        "adapter_model.safetensors": make.safetensors(parts),
        "adapter_config.json": b'{"base_model_name_or_path": "org/model", "lora_alpha": 2, "peft_type": "LORA"}',
    }
    publish("org/lora", {"tokenizer.json": b"", **files})
    del hub.repos["org/lora"].files["tokenizer.json"]
    with pytest.raises(SourceError, match="give its base too, as ,base=DIR or ,base=org/name"):
        load("org/lora")
    expected = stored + (parts[min(parts)].T @ parts[max(parts)].T).to(torch.bfloat16)
    assert torch.equal(load("org/lora,base=org/model").vectors, expected)
    size = stored.nbytes + sum(part.nbytes for part in parts.values())
    assert hub.weights_moved() <= size + 256 * KB
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert torch.equal(load(f"{tmp_path},base=hf:org/model").vectors, expected)
    assert hub.weights_moved() <= size + 256 * KB


def test_a_model_on_the_hub_takes_a_tokenizer_from_disk(hub, client, publish, tmp_path):
    """Where the repository has none, its name leads to the option, and a folder's is read with the hub's weights."""
    stored = publish()
    (tmp_path / "tokenizer.json").write_bytes(hub.repos["org/model"].files.pop("tokenizer.json"))
    with pytest.raises(SourceError, match=r"holds no tokenizer .*; say where one is: ,tokenizer=DIR"):
        load("org/model")
    table = load(f"org/model,tokenizer={tmp_path}")
    assert (table.tokens[0], torch.equal(table.vectors, stored)) == ("word0", True)


def test_tokenizers_of_bytes_are_read_from_the_hub(hub, client, publish):
    """A repository with a file of ranks, or with the settings of ByT5's tokenizer, needs no tokenizer.json."""
    publish()
    files = hub.repos["org/model"].files
    files.pop("tokenizer.json")
    files["tokenizer_config.json"] = b'{"tokenizer_class": "ByT5Tokenizer"}'
    assert load("org/model").tokens[100] == "a"
    publish("org/ranks")
    files = hub.repos["org/ranks"].files
    files.pop("tokenizer.json")
    files["qwen.tiktoken"] = b"YQ== 0\nYg== 1\nYWI= 2\n"
    assert load("org/ranks").tokens[:3] == ["a", "b", "ab"]
