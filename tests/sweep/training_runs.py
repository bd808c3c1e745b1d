"""Training runs in miniature: directories with a matrix whose rows share a direction, until it breaks."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from embcheck.sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from embcheck.sweep import Swept

ROWS, WIDTH = 2_000, 32
PROPERTY = "positive_cosine_bias"
NAMES = (PROPERTY, "isotropy")
FREE = {"seconds"}


def words(rows: int) -> list[str]:
    return [f"w{i:05d}" for i in range(rows)]


def write(
    folder: Path,
    steps: list[int],
    breaks_at: int,
    *,
    rows: int = ROWS,
    width: int = WIDTH,
    nan_rows: Mapping[int, int] | None = None,
    output_breaks_at: int | None = None,
) -> Path:
    """One checkpoint a step in ``folder/checkpoint-STEP``: from ``breaks_at`` on, rows have no direction in common.

    The first ``nan_rows`` of a step are not numbers. With ``output_breaks_at`` there is an output matrix too.
    """
    first = folder / f"checkpoint-{steps[0]}"
    first.mkdir(parents=True)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words(rows))}, unk_token=words(1)[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(first / "tokenizer.json"))
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": rows, "n_embd": width}
    (first / "config.json").write_text(json.dumps(config))
    for step in steps:
        place = folder / f"checkpoint-{step}"
        place.mkdir(exist_ok=True)
        for name in ("tokenizer.json", "config.json"):
            if place != first:
                os.link(first / name, place / name)
        noise = torch.randn(rows, width, generator=torch.Generator().manual_seed(step))
        matrix = noise.clone() if step >= breaks_at else noise + 0.5
        matrix[: (nan_rows or {}).get(step, 0)] = float("nan")
        output = {} if output_breaks_at is None else {"lm_head.weight": -noise + 0.5 * (step < output_breaks_at)}
        save_file({"wte.weight": matrix, **output}, place / "model.safetensors")
    return folder


def swept(run: Path, out: Path, **options: Any) -> Swept:
    """The sweep of a run's two properties, by default one task after the other."""
    options = {"executor": "thread", "workers": 1, "properties": NAMES} | options
    return sweep(globs=[str(run / "checkpoint-*")], out=out, **options)


def numbers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a sweep without what differs from one to the next."""
    return [{k: v for k, v in row.items() if k not in FREE} for row in rows]
