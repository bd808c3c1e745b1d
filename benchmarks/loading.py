"""Time and memory of getting at the embeddings of a 2 GB checkpoint: ``python -m benchmarks.loading``.

The alternative is what people use today: ``AutoModel.from_pretrained(..., dtype=float32)``. Each run is a process of
its own, since peak memory is a process's; the two alternate. Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoModel, LlamaConfig

REPEATS = 5
_REPORT = """
import re, sys, time
from pathlib import Path
import torch
{imports}

def megabytes(key):
    status = open("/proc/self/status").read()
    return int(re.search(key + r":\\s+(\\d+)", status)[1]) / 1024

before, started = megabytes("VmRSS"), time.perf_counter()
{body}
print(time.perf_counter() - started, megabytes("VmHWM") - before)
"""
TENSOR = """
checkpoint = _checkpoint.open_checkpoint(_folder.LocalFolder(Path(sys.argv[1])))
weights_sha256(checkpoint.load(_choose.choose(checkpoint, {}, name=None)[0]))
"""
MODEL = "AutoModel.from_pretrained(sys.argv[1], dtype=torch.float32)"
OURS = """
from embcheck.provenance import weights_sha256
from embcheck.sources import _checkpoint, _choose, _folder, directory, load
from embcheck.spec import parse
"""
THEIRS = "from transformers import AutoModel, AutoTokenizer, LlamaModel"
COMPARISONS = {
    "the tensor, mapped and hashed": ((OURS, TENSOR), (THEIRS, MODEL)),
    "the table": ((OURS, "load(parse(sys.argv[1]), device='cpu')"), (THEIRS, MODEL)),
    "the table, its tokens classed": (
        (OURS, "load(parse(sys.argv[1]), device='cpu').population"),
        (THEIRS, f"{MODEL}; AutoTokenizer.from_pretrained(sys.argv[1])"),
    ),
}


def checkpoint(folder: Path) -> None:
    """Write a sharded bfloat16 Llama of about 2 GB, and a tokenizer of as many words."""
    from tokenizers import Tokenizer, models

    config = LlamaConfig(
        vocab_size=131_072, hidden_size=2_048, intermediate_size=8_192, num_hidden_layers=12, num_attention_heads=16,
        num_key_value_heads=4, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.device("meta"):
        model = AutoModel.from_config(config, dtype=torch.bfloat16)
    model.to_empty(device="cpu")
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.02)
    model.save_pretrained(folder, max_shard_size="500MB")
    Tokenizer(models.WordLevel({f"word{i}": i for i in range(131_072)}, "word0")).save(str(folder / "tokenizer.json"))


def measured(how: tuple[str, str], folder: Path) -> tuple[float, float]:
    """Seconds, and MB of peak memory (mapped pages counted), of loading in a process of its own, imports left out."""
    code = _REPORT.format(imports=how[0], body=how[1])
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    seconds, peak = map(float, done.stdout.split()[-2:])
    return seconds, peak


def main() -> None:
    """Print both, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        checkpoint(folder)
        size = sum(f.stat().st_size for f in folder.iterdir()) / 1e9
        print(
            f"a {size:.2f} GB checkpoint, its table of 131072 x 2048 bfloat16; medians of {repeats} alternating repeats"
        )
        for what, (ours, theirs) in COMPARISONS.items():
            pairs = [(measured(ours, folder), measured(theirs, folder)) for _ in range(repeats)]
            mine, other = (
                [statistics.median(run[i] for run in runs) for i in (0, 1)] for runs in zip(*pairs, strict=True)
            )
            print(f"{what:<32}{mine[0]:6.2f} s {mine[1]:6.0f} MB  ", end="")
            print(f"float32 AutoModel {other[0]:6.2f} s {other[1]:6.0f} MB  ", end="")
            print(f"ratios {mine[0] / other[0]:.3f} {mine[1] / other[1]:.3f}")


if __name__ == "__main__":
    main()
