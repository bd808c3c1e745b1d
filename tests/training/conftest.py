"""A small language model and text that every Python carries, to train it on."""

from __future__ import annotations

import ast
import pathlib
from dataclasses import dataclass
from typing import Any

import pytest
import torch

MODULES = ("argparse", "datetime", "difflib", "functools", "inspect", "random", "statistics", "subprocess", "threading")
LENGTH = 32


@dataclass(frozen=True)
class Corpus:
    """A tokenizer and the text it was made of, cut into pieces of equal length."""

    tokenizer: Any
    pieces: torch.Tensor

    def __len__(self):
        return len(self.pieces)

    def __getitem__(self, i):
        return {"input_ids": self.pieces[i], "labels": self.pieces[i]}


def docstrings():
    """The documentation of some of Python's own modules."""
    library = pathlib.Path(ast.__file__).parent
    for name in MODULES:
        path = library / f"{name}.py"
        if not path.is_file():  # some builds of Python leave modules out
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield ast.get_docstring(node) or ""


@pytest.fixture(scope="session")
def corpus():
    """Docstrings as ids of a byte-level tokenizer of 1,000 tokens."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    texts = list(docstrings())
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(texts, vocab_size=1_000, special_tokens=["<|end|>"], show_progress=False)
    ids = [i for encoded in trained.encode_batch(texts) for i in (*encoded.ids, 0)]
    rows = len(ids) // LENGTH
    pieces = torch.tensor(ids[: rows * LENGTH]).reshape(rows, LENGTH)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, pad_token="<|end|>")
    return Corpus(wrapped, pieces)


@pytest.fixture
def language_model(corpus):
    """A transformer of two blocks with random weights, its output tied to its input."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(corpus.tokenizer),
            n_positions=LENGTH,
            n_embd=64,
            n_layer=2,
            n_head=2,
            bos_token_id=0,
            eos_token_id=0,
            attn_pdrop=0.0,
            embd_pdrop=0.0,
            resid_pdrop=0.0,
        )
    )
