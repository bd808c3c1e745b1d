"""What other programs run from this repository: the action of GitHub, and the hook of pre-commit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from embcheck.cli.program import program

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
INSTALL, CHECK, KEEP = ACTION["runs"]["steps"]
SHOWS_ARGUMENTS = "#!/bin/sh\nfor each; do printf '%s\\n' \"[$each]\"; done\n"


def run(step, where, path, **inputs):
    """Run a step's script as the runner does, with inputs in the variables that it names."""
    given = {name: spec["default"] for name, spec in ACTION["inputs"].items()} | inputs
    variables = {
        name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda match: given[match[1]], value)
        for name, value in step["env"].items()
    }
    kept = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("EMBCHECK_")}
    environment = (
        kept | variables | {"GITHUB_ACTION_PATH": str(ROOT), "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"}
    )
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def stub(tmp_path):
    """Makes a program that prints its arguments; the folder it is in."""

    def made(name):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(SHOWS_ARGUMENTS)
        (folder / name).chmod(0o755)
        return folder

    return made


def test_one_version_is_named_everywhere():
    """The package's version is that of the citation, of the changelog's newest part, and of the wheel in the docs."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == version
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[1] == version
    wheels = re.findall(r"embcheck-([\d.]+)-py3", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"))
    assert set(wheels) == {version}


def test_a_release_is_what_was_checked():
    """The release is published by the job that ran everything, with the right to sign in and no secret."""
    release = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))
    build, publish = release["jobs"]["build"], release["jobs"]["publish"]
    assert "bash .ci/run" in [step.get("run") for step in build["steps"]]
    assert (publish["needs"], publish["permissions"]) == ("build", {"id-token": "write"})
    assert "secrets" not in (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")


def test_no_input_is_text_of_a_script():
    """Inputs reach scripts as values of variables alone, none of which embcheck would take for its own."""
    scripts = [step for step in ACTION["runs"]["steps"] if "run" in step]
    assert scripts == [INSTALL, CHECK]
    assert not any("${{" in step["run"] for step in scripts)
    names = {name for step in scripts for name in step["env"]}
    assert not any(name.startswith("EMBCHECK_") for name in names)
    used = set(re.findall(r"inputs\.([\w-]+)", (ROOT / "action.yml").read_text(encoding="utf-8")))
    assert used == set(ACTION["inputs"])
    assert all("default" in spec and spec["description"] for spec in ACTION["inputs"].values())


@pytest.mark.parametrize(("extras", "last"), [("", f"[{ROOT}]"), ("html,gguf", f"[{ROOT}[html,gguf]]")])
def test_the_action_installs_the_version_that_it_came_with(stub, tmp_path, extras, last):
    """The package is installed from the action's own folder, with its constraints, and the extras that are named."""
    done = run(INSTALL, tmp_path, stub("python"), extras=extras)
    assert done.stdout.splitlines()[-3:] == ["[-c]", f"[{ROOT / 'constraints.txt'}]", last]


def test_hostile_inputs_of_the_action_are_arguments(stub, tmp_path):
    """Each line is one argument, whatever a shell would make of it, and a model is never an option."""
    models = ["a b=random:3x4; touch pwned", "$(touch pwned)", "`touch pwned`", "--json=pwned", "*"]
    done = run(
        CHECK,
        tmp_path,
        stub("embcheck"),
        models="\n\n".join(models),
        arguments="--property=a*\n",
        report="$(touch pwned)",
    )
    assert done.stdout.splitlines() == [
        "[check]",
        "[--property=a*]",
        "[--json=$(touch pwned)/embcheck.json]",
        "[--summary=$(touch pwned)/embcheck.md]",
        "[--]",
        *(f"[{model}]" for model in models),
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["$(touch pwned)", "bin"]


@pytest.mark.parametrize(("models", "code"), [("noise=random:300x8", 0), ("--help", 4)])
def test_the_action_ends_as_the_check_does(tmp_path, models, code):
    """Exit code and files are those of the program; a model that looks like an option is a path that is not there."""
    done = run(CHECK, tmp_path, Path(sys.executable).parent, models=models, arguments="--property=duplicate_rows")
    assert done.returncode == code, done.stderr
    written = sorted(path.name for path in (tmp_path / "embcheck-report").iterdir())
    assert written == (["embcheck.json", "embcheck.md"] if code == 0 else [])


def test_the_hook_of_pre_commit_is_a_command():
    """The hook's entry has a subcommand and options that exist, and takes no file names."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    name, command, *arguments = hook["entry"].split()
    assert name == "embcheck"
    assert program.commands[command].make_context(command, arguments)
    assert (hook["language"], hook["pass_filenames"]) == ("python", False)
    assert re.search(hook["files"], "models/model.safetensors")
    assert not re.search(hook["files"], "README.md")
