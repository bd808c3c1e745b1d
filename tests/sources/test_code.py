"""Code that a model brings is run by no door, whoever says yes."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from embcheck.sources.files import drop_code
from embcheck.sources.tokenizers.load import offline

CLASSES = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForMaskedLM", "AutoTokenizer")
MAPPED = dict.fromkeys(CLASSES, "evil--modeling_evil.Evil")
SIZES = {"vocab_size": 14, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
BERT = {**SIZES, "model_type": "bert", "architectures": ["BertModel"], "auto_map": MAPPED}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghi"]
SETTINGS = {"auto_map": {"AutoTokenizer": ["evil--modeling_evil.Evil", None]}, "tokenizer_class": "Evil"}


def write(folder, config, *, tables=("a.wte.weight", "b.wte.weight"), more=()):
    """A model whose config names code, which leaves a mark beside the model's folder when it is run."""
    folder.mkdir()
    save_file({name: torch.rand(14, 8) + number for number, name in enumerate(tables)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    (folder / "tokenizer_config.json").write_text(json.dumps(SETTINGS))
    (folder / "modeling_evil.py").write_text(
        f"from pathlib import Path\nPath({str(folder.parent / 'mark')!r}).touch()\nclass Evil:\n    pass\n"
    )
    for name, content in more:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))


def unknown(folder):
    """Two tables, and a type that transformers knows as a config and not as a model."""
    write(folder, {**SIZES, "model_type": "aimv2_text_model", "auto_map": MAPPED})


def inner(folder):
    """As ``unknown``, but inside a model of several parts."""
    text = {**SIZES, "model_type": "aimv2_text_model", "tie_word_embeddings": False, "auto_map": MAPPED}
    write(folder, {"model_type": "llava", "text_config": text, "vision_config": {"model_type": "clip_vision_model"}})


def old_tokenizer(folder):
    """One table, and a tokenizer without a tokenizer.json."""
    write(folder, BERT, tables=["embeddings.word_embeddings.weight"])


def encoder(folder):
    """A sentence encoder."""
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    more = [("modules.json", modules), ("sentence_bert_config.json", {"max_seq_length": 8, "auto_map": MAPPED})]
    write(folder, BERT, tables=["embeddings.word_embeddings.weight"], more=more)


DOORS = {
    "unknown": (unknown, "./evil"),
    "inner": (inner, "./evil"),
    "old_tokenizer": (old_tokenizer, "./evil"),
    "encoder": (encoder, "st:./evil"),
    "hidden": (old_tokenizer, "hidden:./evil@layer=0"),
}


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_no_door_runs_the_code_that_a_model_brings(tmp_path, door):
    """A model whose settings name its own code is read without it or refused; nobody is asked, and a yes counts not."""
    make, spec = DOORS[door]
    make(tmp_path / "evil")
    result = subprocess.run(
        [sys.executable, "-m", "embcheck", "inspect", spec, "--device", "cpu"],
        cwd=tmp_path,
        env={**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_MODULES_CACHE": str(tmp_path / "modules")},
        input="y\n" * 100,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = result.stdout + result.stderr
    assert not (tmp_path / "mark").exists(), said
    assert "[y/N]" not in said
    assert result.returncode in {0, 4}, said


def test_nobody_can_be_asked_while_libraries_run():
    """While a library runs on a model's files, standard input is empty, and afterwards it is as before."""
    before = sys.stdin
    with offline(), pytest.raises(EOFError):
        input()
    assert sys.stdin is before


def test_names_of_code_are_dropped_at_any_depth():
    """No depth and no list hides a key that names code, and all other keys stay."""
    deep = {"auto_map": MAPPED, "kernel_size": 3}
    for _ in range(5000):
        deep = {"parts": [deep], "_attn_implementation": "org/kernel"}
    value = drop_code(deep)
    for _ in range(5000):
        assert set(value) == {"parts"}
        (value,) = value["parts"]
    assert value == {"kernel_size": 3}
