"""What makes other vectors of an encoder is named from the vectors alone; behind a real server: test_real_server.py."""

from __future__ import annotations

import json
import string

import numpy as np
import pytest
import torch
from defects import Service, sentences

from embcheck.diagnosis.encoders import diagnose_encoder
from embcheck.errors import NotMeasurable, UsageError

pytest.importorskip("sentence_transformers", reason="the st extra is not installed")


@pytest.fixture(scope="module")
def service(folder):
    return Service(folder)


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
