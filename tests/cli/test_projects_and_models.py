"""Where a project ends and a model begins, and what goes to standard output."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from embcheck import api
from embcheck.errors import UsageError

NOISE = "random:300x16"
EVIL = "from pathlib import Path\nPath('ran').touch()\nimport embcheck\n"


@pytest.fixture
def model(project):
    """Put a model into the working directory."""
    save_file({"wte.weight": torch.ones(4, 2)}, project / "model.safetensors")
    (project / "config.json").write_text("{}")
    return project


def test_property_files_of_a_model_do_not_run(embcheck, model):
    """Files in ./properties beside a model's weights came with the model: none runs by itself, and that is said."""
    (model / "properties" / "evil.py").write_text(EVIL)
    found = embcheck("list")
    assert not (model / "ran").exists()
    assert (found.code, found.err.count("\n")) == (4, 1)
    assert "properties/evil.py lies beside a model's weights" in found.err
    assert embcheck("list", "--properties", "properties").code == 0
    assert (model / "ran").exists()


def test_configuration_of_a_model_is_not_obeyed(embcheck, model):
    """A pyproject.toml beside a model's weights configures nothing, from below too."""
    (model / "properties" / "toys.py").unlink()
    (model / "pyproject.toml").write_text('[tool.embcheck]\njson = "out.json"\n')
    found = embcheck("check", NOISE)
    assert found.code == 4
    assert "pyproject.toml lies beside a model's weights" in found.err


@pytest.mark.parametrize("named", [".", "..", "st:.", "hidden:.@layer=0", "m=./../{name}"])
def test_what_lies_in_the_model_that_is_checked_does_not_run(embcheck, project, named):
    """Whatever a folder hides, nothing in it runs or is obeyed where it is itself the model that is named."""
    (project / "properties" / "toys.py").unlink()
    (project / "properties" / "evil.py").write_text(EVIL)
    spec = named.format(name=project.name)
    found = embcheck("check", spec)
    assert (found.code, (project / "ran").exists()) == (4, False)
    (project / "properties" / "evil.py").unlink()
    (project / "pyproject.toml").write_text('[tool.embcheck]\njson = "out.json"\n')
    assert "configures nothing" in embcheck("check", spec).err


@pytest.mark.parametrize("weights", ["model.safetensors", "m.gguf"])
@pytest.mark.parametrize("description", ["config.json", "tokenizer.json", "params.json", "modules.json"])
def test_weights_beside_any_description_are_a_model(embcheck, project, weights, description):
    """A folder of weights and of a config, a tokenizer or modules is a model's, whichever of them is there."""
    (project / weights).touch()
    (project / description).write_text("{}")
    (project / "properties" / "evil.py").write_text(EVIL)
    assert embcheck("list").code == 4
    assert not (project / "ran").exists()


def test_the_python_api_runs_nothing_of_a_model(model):
    """`embcheck.check` in a model's folder runs none of its property files."""
    (model / "properties" / "evil.py").write_text(EVIL)
    (model / "config.json").unlink()
    with pytest.raises(UsageError, match="lies beside a model's weights"):
        api.check(".")
    assert not (model / "ran").exists()


def test_a_project_beside_models_is_one(embcheck, project):
    """Files of vectors and checkpoints in folders below leave a project what it is, a config.json of its own too."""
    (project / "config.json").write_text("{}")
    (project / "model").mkdir()
    save_file({"wte.weight": torch.ones(4, 2)}, project / "model" / "model.safetensors")
    (project / "model" / "config.json").write_text("{}")
    (project / "pyproject.toml").write_text('[tool.embcheck]\njson = "out.json"\n')
    assert embcheck("check", NOISE, "--property", "toy_holds").code == 0
    assert (project / "out.json").is_file()


@pytest.mark.parametrize("key", ["json", "html", "summary", "baseline-dir"])
@pytest.mark.parametrize("path", ["../out", "/embcheck-out", "link/out", "a/../../out"])
def test_a_configuration_writes_inside_its_project(embcheck, project, tmp_path_factory, key, path):
    """An output that a file names stays inside the file's folder, links followed; the command line may name any."""
    (project / "link").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    (project / "pyproject.toml").write_text(f'[tool.embcheck]\n{key} = "{path}"\n')
    found = embcheck("check", NOISE, "--property", "toy_holds")
    assert (found.code, found.err.count("\n")) == (4, 1)
    assert "outside of the project's folder" in found.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", NOISE, "--property", "toy_holds"],
        ["compare", NOISE, "random:300x16,seed=3", "--property", "isotropy"],
        ["inspect", NOISE],
        ["probe", NOISE, "#5"],
        ["neighbors", NOISE, "#5"],
        ["analogy", NOISE, "#1", "-", "#2", "+", "#3"],
        ["selftest", "--property", "isotropy", "--tables", "20", "--redraws", "20"],
        ["baseline", "diff", NOISE, "--property", "toy_holds"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_json_to_standard_output(embcheck, project, arguments):
    """``--json -`` writes the JSON alone to standard output, and what a person reads to standard error."""
    found = embcheck(*arguments, "--json", "-")
    assert isinstance(json.loads(found.out), dict), found.err
    assert "internal error" not in found.err
    assert found.err
    assert not (project / "-").exists()


@pytest.mark.parametrize(
    ("arguments", "begin"),
    [
        (["report", "in.json", "--summary"], "### embcheck: "),
        (["report", "in.json", "--html"], "<!DOCTYPE html>"),
        (["report", "in.json", "--card"], "<!-- embcheck: begin -->"),
        (["check", NOISE, "--property", "toy_holds", "--summary"], "### embcheck: "),
        (["compare", NOISE, "random:300x16,seed=3", "--property", "isotropy", "--summary"], "### embcheck: "),
        (["diagnose", NOISE, "random:300x16,seed=3", "--summary"], "### embcheck: "),
        (["baseline", "diff", NOISE, "--property", "toy_holds", "--markdown"], "### "),
        (["selftest", "--property", "isotropy", "--tables", "20", "--redraws", "20", "--markdown"], "# "),
    ],
    ids=lambda given: " ".join(given[:2] + given[-1:]) if isinstance(given, list) else "",
)
def test_every_file_that_is_written_may_be_standard_output(embcheck, project, arguments, begin):
    """``-`` stands for standard output in each option that writes a file, and the lines go to standard error."""
    assert embcheck("check", NOISE, "--property", "toy_holds", "--json", "in.json").code == 0
    done = embcheck(*arguments, "-")
    assert done.out.startswith(begin), done.err
    assert done.err
    assert not (project / "-").exists()


def test_two_files_cannot_both_be_standard_output(embcheck):
    """Of two reports on one stream none could be read: wrong usage, before any work."""
    done = embcheck("check", NOISE, "--json", "-", "--summary", "-")
    assert (done.code, done.out) == (4, "")
    assert "only one file can be standard output" in done.err


def test_what_a_report_file_says_is_inert(embcheck, project, monkeypatch):
    """Units, dtypes, names and aliases of a report file start no line of their own, and act on nothing."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    embcheck("check", NOISE, "--property", "toy_holds", "--json", "out.json")
    document = json.loads((project / "out.json").read_text())
    evil = "x\n::warning::evil\x1b[31m\u202e|<b>`"
    (model,) = document["models"]
    (result,) = model["results"]
    model.update(alias=evil, dtype=evil, spec=evil)
    result.update(sentence=evil, reason=evil, verdict="refuted", outcome="fail")
    result["estimate"].update(unit=evil, name=evil, method=evil)
    result["nulls"] = [{"name": evil, "value": 0.5, "p_value": 0.5, "p_adjusted": 0.5}]
    (project / "evil.json").write_text(json.dumps(document))
    found = embcheck("report", "evil.json", "--summary", "out.md", "--show", "all")
    assert found.code == 0
    said = found.out + found.err + (project / "out.md").read_text()
    assert "\n::" not in said
    assert not {"\x1b", "\u202e"} & set(said)
    assert "<b>" not in (project / "out.md").read_text()


def test_names_of_tensors_are_inert_in_notes(embcheck, project):
    """A tensor's name that a note or an error quotes starts no line and moves no cursor."""
    folder = project / "model"
    folder.mkdir()
    save_file(
        {"a\x1b[2J\n::error::x.wte.weight": torch.ones(4, 2), "b\u202e.wte.weight": torch.ones(4, 2)},
        folder / "model.safetensors",
    )
    found = embcheck("inspect", "./model")
    assert found.code == 4
    assert found.err.rstrip("\n").isprintable()
