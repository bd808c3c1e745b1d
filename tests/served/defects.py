"""An encoder as somebody serves it: what each defect does to its vectors, and what should be said of it.

It runs the model by transformers itself and shares no code with the diagnosis.
"""

from __future__ import annotations

import copy
import itertools

import numpy as np
import torch

WHO = ["Maria", "My brother", "The old teacher", "Nobody", "A nurse from Lyon", "Ahmed", "The dog next door"]
DID = [
    "forgot the keys",
    "was late again",
    "bought three Apples",
    "told us about Berlin",
    "walked home slowly",
    "slept",
]
WHEN = ["on Monday", "after lunch", "while it rained", "before the train to Oslo left", "last summer", "at NASA"]


def sentences():
    """200 everyday sentences: 176 of a few words, then 24 of which 14 have 130 to 350 tokens."""
    short = [f"{a} {b} {c}." for (a, b, c), _ in zip(itertools.product(WHO, DID, WHEN), range(252), strict=True)]
    some = [
        f"{short[i]} {short[-i - 1].lower()}" if i % 5 == 0 else short[i].lower() if i % 3 == 0 else short[i]
        for i in range(176)
    ]
    long = [
        " ".join(short[j * 11 % 252] for j in range(i, i + (14 + 2 * (i - 10) if i >= 10 else 3))) for i in range(24)
    ]
    return some + long


class Service:
    """The demo encoder as somebody serves it: each option is a defect."""

    def __init__(self, folder):
        from transformers import AutoModel, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.cased = AutoTokenizer.from_pretrained(folder)
        self.cased.backend_tokenizer.normalizer = type(self.cased.backend_tokenizer.normalizer)(lowercase=False)
        self.models = {torch.float32: AutoModel.from_pretrained(folder).eval()}
        self.kept = {}

    def states(self, ids, length, *, ignored, dtype):
        """Last hidden states of one text and how many of them are its own."""
        key = (tuple(ids), length, ignored, dtype)
        if key not in self.kept:
            if dtype not in self.models:
                self.models[dtype] = copy.deepcopy(self.models[torch.float32]).to(dtype)
            tokens = torch.tensor([ids + [0] * (length - len(ids))])
            mask = torch.ones_like(tokens) if ignored else (torch.arange(length)[None] < len(ids)).long()
            with torch.inference_mode():
                self.kept[key] = self.models[dtype](input_ids=tokens, attention_mask=mask).last_hidden_state[0].float()
        return self.kept[key]

    def embed(
        self, texts, *, pooling="mean", normalise=True, prefix="", cased=False, special=True, most=256, ignored=False,
        dtype=torch.float32, order=None, after=None,
    ):  # fmt: skip
        """The vectors of some texts, wrong as the options say."""
        tokenizer = self.cased if cased else self.tokenizer
        coded = [
            tokenizer(prefix + t, add_special_tokens=special, truncation=True, max_length=most)["input_ids"]
            for t in texts
        ]
        rows = []
        for ids in coded:
            length = max(map(len, coded)) if ignored else len(ids)
            states = self.states(ids, length, ignored=ignored, dtype=dtype)
            states = states if ignored else states[: len(ids)]
            pooled = {"mean": states.mean(0), "cls": states[0], "last": states[-1], "max": states.amax(0)}[pooling]
            rows.append(pooled / pooled.norm() if normalise else pooled)
        vectors = torch.stack(rows).numpy().astype(np.float64)
        vectors = vectors if after is None else after(vectors)
        return (vectors if order is None else vectors[order(texts)]).tolist()


def rounded(dtype):
    return lambda v: torch.from_numpy(v).to(dtype).double().numpy()


def by_length(texts):
    return np.argsort([len(text) for text in texts], kind="stable")


TO_INT8 = {"after": lambda v: np.clip(np.round(v * 127 / 0.2), -128, 127)}
DEFECTS = {
    "identical": ({}, "", {"identical": {}}),
    "cls pooling": ({"pooling": "cls"}, "", {"pooling": {"is": "cls"}}),
    "last pooling": ({"pooling": "last"}, "", {"pooling": {"is": "last"}}),
    "max pooling": ({"pooling": "max"}, "", {"pooling": {"is": "max"}}),
    "not normalised": ({"normalise": False}, "", {"normalisation": {"is": "missing"}}),
    "prefix missing": ({}, "query: ", {"prefix": {"is": "missing"}}),
    "prefix doubled": ({"prefix": "query: query: "}, "query: ", {"prefix": {"is": "doubled"}}),
    "prefix added": ({"prefix": "passage: "}, "", {"prefix": {"is": "added", "text": "passage: "}}),
    "cut at 128": ({"most": 128}, "", {"truncation": {"tokens": 128}}),
    "cut at 64": ({"most": 64}, "", {"truncation": {"tokens": 64}}),
    "cut at 16": ({"most": 16}, "", {"truncation": {"tokens": 16}}),
    "cut later": ({"most": 512}, "", {"truncation": {"instead of": 256}}),
    "no special tokens": ({"special": False}, "", {"special tokens": {}}),
    "not lower-cased": ({"cased": True}, "", {"case": {"is": "kept"}}),
    "order lost": ({"order": by_length}, "", {"order": {"within": 64}}),
    "padding leaks": ({"ignored": True}, "", {"padding": {"texts at once": 64}}),
    "float16 numbers": ({"after": rounded(torch.float16)}, "", {"precision": {"dtype": "float16"}}),
    "bfloat16 numbers": ({"after": rounded(torch.bfloat16)}, "", {"precision": {"dtype": "bfloat16"}}),
    "bfloat16 model": ({"dtype": torch.bfloat16}, "", {"precision": {"dtype": "bfloat16", "in": "computing"}}),
    "int8": (TO_INT8, "", {"precision": {"dtype": "int8"}}),
    "binary": ({"after": lambda v: (v > 0) * 2.0 - 1}, "", {"precision": {"dtype": "binary"}}),
    "packed bits": ({"after": lambda v: np.packbits(v > 0, axis=1) * 1.0}, "", {"precision": {"dtype": "packed bits"}}),
    "first 128 numbers": ({"after": lambda v: v[:, :128]}, "", {"width": {"kept": 128, "of": 384}}),
    "cls, raw": ({"pooling": "cls", "normalise": False}, "", {"pooling": {"is": "cls"}, "normalisation": {}}),
    "cls, cut at 128": ({"pooling": "cls", "most": 128}, "", {"pooling": {}, "truncation": {"tokens": 128}}),
    "order, raw": ({"order": by_length, "normalise": False}, "", {"order": {}, "normalisation": {}}),
    "prefix missing, max": ({"pooling": "max"}, "query: ", {"prefix": {"is": "missing"}, "pooling": {}}),
    "int8, no special": (TO_INT8 | {"special": False}, "", {"precision": {"dtype": "int8"}, "special tokens": {}}),
    "case, prefix doubled": (
        {"cased": True, "prefix": "query: query: "}, "query: ", {"case": {}, "prefix": {"is": "doubled"}}
    ),
}  # fmt: skip
