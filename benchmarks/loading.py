"""Time and memory of getting at the embeddings of a 2 GB checkpoint, beside a float32 AutoModel.

Each run is a process of its own, since peak memory is a process's; the two alternate. Linux only: memory is read from
/proc.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

from benchmarks.processes import python
from benchmarks.registry import Missing, Row, Run, alternative

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_REPORT = """
import sys
import torch
{imports}
before, started = megabytes("VmRSS"), time.perf_counter()
{body}
print(time.perf_counter() - started, megabytes("VmHWM") - before)
"""
MODEL = "AutoModel.from_pretrained(sys.argv[1], dtype=torch.float32)"
OURS = "from embcheck.sources import load\nfrom embcheck.spec import parse"
THEIRS = "from transformers import AutoModel, AutoTokenizer, LlamaModel"
COMPARISONS = {
    "the table": ("load(parse(sys.argv[1]), device='cpu')", MODEL),
    "the table, its tokens classed": (
        "load(parse(sys.argv[1]), device='cpu').population",
        f"{MODEL}; AutoTokenizer.from_pretrained(sys.argv[1])",
    ),
}


def checkpoint(folder: Path, *, small: bool) -> None:
    """Write a sharded bfloat16 Llama, of about 2 GB unless it is to be small, and a tokenizer of as many words."""
    from tokenizers import Tokenizer, models
    from transformers import AutoModel, LlamaConfig

    vocabulary, width, layers = (300, 32, 1) if small else (131_072, 2_048, 12)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
        num_attention_heads=width // 8 if small else 16, num_key_value_heads=4, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.device("meta"):
        model = AutoModel.from_config(config, dtype=torch.bfloat16)
    model.to_empty(device="cpu")
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.02)
    model.save_pretrained(folder, max_shard_size="500MB")
    words = {f"word{i}": i for i in range(vocabulary)}
    Tokenizer(models.WordLevel(words, "word0")).save(str(folder / "tokenizer.json"))
    for file in folder.iterdir():
        os.utime(file, (0, 0))  # as a model that was downloaded: what was written of late is copied, not mapped


def rows(run: Run) -> Iterator[Row]:
    """Time and memory of each comparison."""
    try:
        alternative("transformers", "transformers")
    except Missing as why:
        yield Row("loading", "a checkpoint's table", "float32 AutoModel", note=str(why))
        return
    folder = run.scratch / "checkpoint"
    folder.mkdir()
    checkpoint(folder, small=run.small)
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e9
    for what, (ours, theirs) in list(COMPARISONS.items())[: run.size(None, 1)]:
        codes = [_REPORT.format(imports=OURS, body=ours), _REPORT.format(imports=THEIRS, body=theirs)]
        pairs = [[python(code, str(folder)) for code in codes] for _ in range(run.repeats)]
        for place, unit, target in ((0, "s", 5), (1, "MB", 3)):
            mine, other = ([pair[side][place] for pair in pairs] for side in (0, 1))
            about = ("loading", f"{what}, of a {size:.2f} GB checkpoint", "float32 AutoModel.from_pretrained", unit)
            note = "imports left out" if unit == "s" else "peak, mapped pages counted"
            yield Row(*about, mine, other, target, note)
