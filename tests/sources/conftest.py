"""Tokenizers built in memory, and model directories made of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from embcheck.spec import parse

sys.path.append(str(Path(__file__).parent))  # import-mode importlib finds no helpers beside a test

UNKNOWN, BERT_UNKNOWN = "<unk>", "[UNK]"


def bpe(words, *, alphabet):
    """Make the vocabulary and merges under which each of ``words`` is one token."""
    vocab = {c: i for i, c in enumerate(dict.fromkeys(alphabet))}
    merges = []
    for word in words:
        left = word[0]
        for c in word[1:]:
            if (left, c) not in merges:
                merges.append((left, c))
            left += c
            vocab.setdefault(left, len(vocab))
    return vocab, merges


@pytest.fixture
def byte_level():
    """GPT-2's kind: bytes written as characters, Ġ for a space."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab, merges = bpe(["Ġcat", "cat", "äº", "ĠÃ©"], alphabet=alphabet)
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


@pytest.fixture
def byte_fallback():
    """Llama's kind: ▁ for a space, put before every text, and bytes for what has no token."""
    fallback = ["<unk>", *(f"<0x{i:02X}>" for i in range(256))]
    vocab, merges = bpe(["▁cat", "cats"], alphabet=[*fallback, "▁", *"acst", "é"])
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token=UNKNOWN, byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(["<unk>"])
    return tokenizer


@pytest.fixture
def unigram():
    """T5's kind: pieces with scores, ▁ for a space, an unknown token."""
    pieces = [("<pad>", 0.0), ("<unk>", 0.0), ("▁cat", -2.0), ("s", -3.0), ("▁", -2.5), ("cat", -4.0), ("dog", -4.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=1))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<pad>", "<unk>"])
    return tokenizer


@pytest.fixture
def wordpiece():
    """BERT's kind: lower case, ## for what continues a word, Chinese characters cut apart."""
    pieces = ["[PAD]", "[unused0]", "[UNK]", "cat", "##s", "s", "º", "!", "##!", "日", "##日", "Cat", "c", "##at"]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token=BERT_UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]"])
    tokenizer.enable_padding(length=8)
    tokenizer.enable_truncation(1)
    return tokenizer


@pytest.fixture
def taught(wordpiece):
    """A tokenizer that was taught a word and a mark of markup after training."""
    wordpiece.add_tokens(["tokamak", AddedToken("<think>", special=False)])
    return wordpiece


@pytest.fixture
def save_model(tmp_path):
    """Write a model directory and return its spec."""

    def save(tensors, tokenizer=None, config=None, *, options="", name="model.safetensors"):
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        save_file(tensors, folder / name)
        if tokenizer is not None:
            tokenizer.save(str(folder / "tokenizer.json"))
        if config is not None:
            (folder / "config.json").write_text(json.dumps(config))
        return parse(f"{folder}{options}")

    return save


@pytest.fixture
def matrix():
    """A (rows, width) matrix of distinct numbers."""

    def make(rows, width=4, dtype=torch.float32):
        generator = torch.Generator().manual_seed(rows)
        return torch.randn(rows, width, generator=generator).to(dtype)

    return make


@pytest.fixture
def write_spec(tmp_path):
    """Write a file of bytes and return the spec that reads it with a scheme."""

    def write(scheme, content, name="vectors"):
        path = tmp_path / name
        path.write_bytes(content)
        return parse(f"{scheme}:{path}")

    return write
