"""What a row's token costs: words and tokens read and classed, and all that needs no word list at 2,000,000 rows.

The limits are for two cores that nothing else is using.
"""

from __future__ import annotations

import json
import random
import string
from typing import TYPE_CHECKING

import torch

from benchmarks.memory import CODE, matrix
from benchmarks.processes import python
from benchmarks.registry import Missing, Row, Run
from benchmarks.tables import glove_files
from embcheck.table.vocabulary import classify, classify_words, repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROPERTIES = (
    "positive_cosine_bias", "isotropy", "effective_dimension", "hubness", "background_similarity", "intact_rows",
    "duplicate_rows", "compressibility", "normalization", "metric_agreement", "random_baseline", "ascii_anti_alignment",
)  # fmt: skip
_LOAD = """
import sys
from embcheck.settings import prepare_process
prepare_process()
import pyarrow.parquet, tokenizers, torch
from embcheck.sources import load
from embcheck.spec import parse
import embcheck.sources.words.npy, embcheck.sources.models.directory
started = time.perf_counter()
table = load(parse(sys.argv[1]), device="cpu")
for column in sys.argv[2:]:
    getattr(table.vocabulary, column)
print(time.perf_counter() - started)
"""


def rows(run: Run) -> Iterator[Row]:
    """Columns beside a token at a time; then loading and checking beside their limits."""
    yield from _columns(run)
    spec, what = _words(run)
    yield _against_limit(run, f"words read and classed, {what}", 1.0, spec, "kinds", "status")
    tokens = run.size(150_000, 400)
    folder = byte_level(run.scratch / "byte_level", tokens)
    what = f"byte-level tokens read and classed, {tokens} x 64"
    yield _against_limit(run, what, 1.5, str(folder), "kinds")
    yield _against_limit(run, f"{what}, and tried on text", 1.5, str(folder), "kinds", "status")
    size = run.size(2_000_000, 2_000)
    chosen = run.size(PROPERTIES, PROPERTIES[:2])
    spec = matrix(run.scratch / "rows", size, 64)
    megabytes, spent = zip(*(python(CODE, spec, *chosen) for _ in range(run.few)), strict=True)
    what = f"{len(chosen)} properties without word lists, {size} x 64 float32"
    yield Row("vocabularies", what, "the limit, 60 s", "s", spent, (60.0,), 1.0)
    note = "mapped files left out"
    yield Row("vocabularies", what, "the limit, 600 MB", "MB", megabytes, (600.0,), 1.0, note)


def _columns(run: Run) -> Iterator[Row]:
    """Words classed, and repeated ones found, as they were: a call and a dictionary entry each."""
    rng = random.Random(0)  # noqa: S311 - words, not keys
    words = ["".join(rng.choices(string.ascii_lowercase + "-5é", k=6)) for _ in range(run.size(400_000, 4_000))]

    def by_dictionary() -> list[int]:
        first: dict[str, int] = {}
        return [row for row, word in enumerate(words) if first.setdefault(word, row) != row]

    ways: list[tuple[str, Callable[[], object], str, Callable[[], object]]] = [
        ("classed", lambda: classify_words(words).tolist(), "a call a word",
         lambda: [classify(word, starts_word=True) for word in words]),
        ("looked through for repeats", lambda: repeated(words).tolist(), "a dictionary", by_dictionary),
    ]  # fmt: skip
    for what, ours, against, theirs in ways:
        if ours() != theirs():
            raise RuntimeError(f"words {what}: the two ways disagree")
        yield run.row(("vocabularies", f"{len(words)} words {what}", against), ours, theirs)


def _against_limit(run: Run, what: str, limit: float, *arguments: str) -> Row:
    """A table loaded, and columns of its vocabulary asked for: repeats, each in a process of its own."""
    spent = [python(_LOAD, *arguments)[0] for _ in range(run.repeats)]
    return Row("vocabularies", what, f"the limit, {limit} s", "s", spent, (limit,), 1.0, "imports left out")


def _words(run: Run) -> tuple[str, str]:
    """Spec and name of GloVe, or of made-up words where it is not installed."""
    try:
        if not run.small:
            file, words = glove_files()
            return f"npy:{file},vocab={words}", "GloVe 6B, 400000 x 50"
    except Missing:
        pass
    size = run.size(400_000, 2_000)
    return matrix(run.scratch / "words", size, 50), f"made-up words, {size} x 50"


def byte_level(folder: Path, size: int) -> Path:
    """Write a byte-level BPE tokenizer of so many tokens, most of them starts of words, and a matrix of its size."""
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder.mkdir()
    rng = random.Random(0)  # noqa: S311 - words, not keys
    alphabet, merges, begun = sorted(pre_tokenizers.ByteLevel.alphabet()), {}, ["Ġ"]
    while len(alphabet) + len(merges) < size:
        first, letter = rng.choice(begun), rng.choice(string.ascii_lowercase)  # nothing else merges: text leads to all
        if first + letter not in merges:
            merges[first + letter] = (first, letter)
            begun.append(first + letter)
    rows_of = {token: row for row, token in enumerate([*alphabet, *merges])}
    tokenizer = Tokenizer(models.BPE(rows_of, list(merges.values())))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file({"model.embed_tokens.weight": torch.zeros(size, 64)}, str(folder / "model.safetensors"))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": size, "hidden_size": 64}))
    return folder
