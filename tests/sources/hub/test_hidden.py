"""Hidden states of a model that is on the hub: all of it is moved, and it says the same as a directory."""

from __future__ import annotations

import pytest
import torch

from embcheck import sources
from embcheck.sources.demo import demo_folder
from embcheck.spec import parse

NEEDED = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")


@pytest.mark.slow
def test_a_model_on_the_hub_says_the_same(hub, client, publish):
    """Whatever it is published beside stays there; the next layer needs no request for weights."""
    folder = demo_folder()
    there = {name: (folder / name).read_bytes() for name in NEEDED if (folder / name).exists()}
    publish(files={**there, "pytorch_model.bin": b"\0" * 2**20, "model.py": b"raise SystemExit"})
    found = sources.expand(parse("hidden:org/model@layer=all"))
    assert [one.alias for one in found] == [f"model@layer{layer}" for layer in range(7)]
    own, moved = (sources.load(parse(text), device="cpu") for text in ("hidden:demo@layer=3", found[3].text))
    assert torch.equal(own.vectors, moved.vectors)
    assert own.tokens_sha256 == moved.tokens_sha256
    once = hub.weights_moved()
    assert len(there["model.safetensors"]) <= once < len(there["model.safetensors"]) + 2**20
    sources.load(found[4], device="cpu")
    assert hub.weights_moved() == once
