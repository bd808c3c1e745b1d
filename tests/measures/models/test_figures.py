import subprocess
import sys

import pytest

from embcheck import published
from embcheck.reports.published import listed
from embcheck.spec import parse

ENTRIES = published.entries()
MEANS = [entry for entry in ENTRIES if entry.how == "probe_means"]


def test_every_entry_says_how_it_is_checked_or_why_not():
    """An entry is either compared, with its model told, or listed with a reason; its source is a title."""
    for entry in ENTRIES:
        assert (entry.how is None) != (entry.unchecked is None)
        assert entry.model or entry.unchecked
        assert " " in entry.source
        assert ".txt" not in entry.source
        assert entry.figures


@pytest.mark.parametrize("entry", MEANS, ids=lambda entry: entry.model)
def test_columns_of_one_table_row_agree_with_each_other(entry):
    """Counts add up to the other rows, and the share is theirs as rounded."""
    found = {figure.name: figure.value for figure in entry.figures}
    assert found["non_negative"] + found["negative"] == pytest.approx(entry.rows - 1, abs=0.011)
    assert found["share"] == pytest.approx(found["non_negative"] / (entry.rows - 1), abs=6e-5)
    assert found["min"] < found["median"] < found["max"]


def test_eight_models_have_the_published_columns():
    """The post's table has eight models."""
    assert len({entry.model for entry in MEANS}) == 8


def test_rounding_is_half_a_unit_of_the_last_digit():
    """A figure shows all its digits, and was moved by rounding at most half a unit of the last."""
    figure = published.Figure("share", 0.895, 4)
    assert (str(figure), figure.half_unit) == ("0.8950", 0.00005)
    assert published.Figure("angle", 76, 0).half_unit == 0.5


@pytest.mark.parametrize(
    ("spec", "model"),
    [
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"),
        ("qwen/qwen3-0.6b@main", "Qwen/Qwen3-0.6B"),
        ("mine=hf:openai-community/gpt2@e7da7f2", "openai-community/gpt2"),
        ("hf:gpt2", "openai-community/gpt2"),
        ("hf:openai-community/gpt2/model.safetensors", "openai-community/gpt2"),
        ("/models/Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"),
        ("./x/../Qwen/Qwen3-0.6B/", "Qwen/Qwen3-0.6B"),
        ("/models/Qwen/Qwen3-0.6B/model.safetensors", "Qwen/Qwen3-0.6B"),
        ("/c/hub/models--openai-community--gpt2/snapshots/607a30d", "openai-community/gpt2"),
        ("Qwen/Qwen3-0.6B,matrix=input", "Qwen/Qwen3-0.6B"),
        ("Qwen/Qwen3-0.6B,matrix=output", None),
        ("Qwen/Qwen3-0.6B,tensor=lm_head.weight", None),
        ("Qwen/Qwen3-0.6B/checkpoint-500", None),
        ("Qwen/Qwen3-0.6B-Base", None),
        ("/models/Qwen3-0.6B", None),
        ("gpt2=/models/mine", None),
        ("/models/gpt2", None),
        ("hf:Qwen/Qwen3-0.6B/model-q4.gguf", None),
        ("gguf:/models/Qwen/Qwen3-0.6B/model.gguf", None),
        ("npy:Qwen/Qwen3-0.6B,vocab=words.txt", None),
        ("demo", None),
        ("random:100x10", None),
    ],
)
def test_a_model_is_known_by_its_name_on_the_hub_or_its_folder(spec, model):
    """The name on the hub or the last two parts of a path name a listed model; short names and other files do not."""
    assert published.model_of(parse(spec)) == model
    assert published.lists(parse(spec)) == (model is not None)


def test_what_is_only_listed_is_not_compared():
    """A model of which nothing can be compared has no check."""
    assert published.model_of(parse("hf:openai-community/gpt2-large")) == "openai-community/gpt2-large"
    assert not published.lists(parse("hf:openai-community/gpt2-large"))


def test_the_list_fits_a_terminal():
    """Every model, figure and title stands in the list, whose lines have at most 80 columns."""
    lines = [line.text for line in listed()]
    assert all(len(line) <= 80 for line in lines)
    text = " ".join(" ".join(lines).split())
    for entry in ENTRIES:
        assert entry.source in text
        assert (entry.model or "no model told") in lines
        assert all(str(figure) in text for figure in entry.figures)
        assert entry.unchecked is None or entry.unchecked in text


def test_listing_needs_no_torch():
    """``embcheck list --published`` imports neither torch, numpy nor scipy."""
    code = (
        "import sys; from embcheck.cli import main; code = main(['list', '--published']); "
        "sys.exit(code or bool({'torch', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("allenai/Olmo-3-7B-Think\n  positive_cosine_bias: min -0.05")
