"""What reading one tensor takes: its own bytes, and no more than twice of them in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace

import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file
from tokenizers import Tokenizer, models

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
ROWS, WIDTH = 32_768, 512
TABLE_BYTES = 4 * ROWS * WIDTH  # of float32, 64 MiB
NAME = "model.embed_tokens.weight"
MEASURE = """
import resource, sys
from embcheck import sources
from embcheck.spec import parse
def read(spec):
    table = sources.load(parse(spec), device="cpu")
    float(table.vectors[0, 0])
    return table.provenance.bytes_read
read(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(read(sys.argv[2]), 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


def state(rows):
    """A state dictionary with an embedding of so many rows, and as much beside it."""
    table = torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(0))
    return {NAME: table, "model.layers.0.mlp.up_proj.weight": table + 1}


def checkpoint(folder, rows):
    torch.save({"state_dict": state(rows), "args": Namespace()}, folder / "last.ckpt")
    return folder / "last.ckpt", 4 * rows * WIDTH


def sharded(folder, rows):
    dcp.save(state(rows), checkpoint_id=str(folder / "c"), no_dist=True)
    return folder / "c", 4 * rows * WIDTH


def megatron(folder, rows):
    for rank in range(2):
        path = folder / f"mp_rank_{rank:02d}"
        path.mkdir()
        part = state(rows // 2)[NAME]
        torch.save({"embedding": {"word_embeddings": {"weight": part}}}, path / "model_optim_rng.pt")
    return folder, 4 * rows * WIDTH


def eight_bits(folder, rows):
    tensors = {NAME: state(rows)[NAME].to(torch.float8_e4m3fn), "up": torch.ones(rows, WIDTH)}
    save_file({**tensors, f"{NAME}_scale": torch.ones(rows, 1)}, folder / "model.safetensors")
    return folder, rows * WIDTH + 4 * rows


def four_bits(folder, rows):
    told = {"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [rows, WIDTH]}
    parts = {
        "": torch.zeros(rows * WIDTH // 2, 1, dtype=torch.uint8),
        ".absmax": torch.ones(rows * WIDTH // 64),
        ".quant_map": torch.linspace(-1, 1, 16),
        ".quant_state.bitsandbytes__nf4": torch.tensor(list(json.dumps(told).encode()), dtype=torch.uint8),
    }
    save_file({f"{NAME}{part}": tensor for part, tensor in parts.items()}, folder / "model.safetensors")
    return folder, rows * WIDTH // 2 + rows * WIDTH // 16 + 64


def adapter(folder, rows):
    (folder / "base").mkdir()
    save_file(state(rows), folder / "base" / "model.safetensors")
    parts = {"A": torch.ones(2, rows), "B": torch.ones(WIDTH, 2)}
    named = {f"base_model.model.model.embed_tokens.lora_embedding_{part}": tensor for part, tensor in parts.items()}
    save_file(named, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"lora_alpha": 2}')
    return f"{folder},base={folder / 'base'}", 4 * rows * WIDTH + 4 * 2 * (rows + WIDTH)


@pytest.mark.parametrize("make", [checkpoint, sharded, megatron, eight_bits, four_bits, adapter])
def test_one_tensor_is_read_and_held_at_most_twice(make, tmp_path):
    """Of a model of two tables the bytes of one are read, and no more than those of two are in memory at any time."""
    Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    specs = []
    for name, rows in (("small", 64), ("large", ROWS)):
        folder = tmp_path / name
        folder.mkdir()
        target, size = make(folder, rows)
        for path in folder.rglob("*"):
            if path.is_file():  # as files that nobody writes any more, which are mapped
                os.utime(path, (0, 0))
        specs.append(f"{target},tokenizer={tmp_path}")
    run = [sys.executable, "-c", MEASURE, *specs]
    told = subprocess.run(run, capture_output=True, text=True, check=True, timeout=120, env=os.environ)
    read, more = map(int, told.stdout.split())
    assert read == size
    assert more < 2 * TABLE_BYTES + 16 * 2**20
