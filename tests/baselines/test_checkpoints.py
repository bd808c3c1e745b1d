"""Checkpoints of the demo model against its baseline: what must regress does, and nothing else."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import checkpoints
import pytest

from embcheck import collect, spec
from embcheck.changes import _unpaired, between
from embcheck.cli import main
from embcheck.gate import Gate
from embcheck.run import checks_of, evaluate
from embcheck.runner import Model, Policy, execute
from embcheck.settings import Settings

CASES = tomllib.loads(Path(__file__).with_name("cases.toml").read_text(encoding="utf-8"))
SEEDS = 5
SHARP = ("positive_cosine_bias", "ascii_anti_alignment[ascii]", "plural_direction_consistency[plural]")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table():
    """The demo model."""
    return checkpoints.original()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project that the demo model was taken into."""
    folder = tmp_path_factory.mktemp("project")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["init", "demo", "--show", "none"]) == 0
    finally:
        os.chdir(before)
    return folder


def label(result):
    inside = "-".join(map(str, result["params"].values()))
    return f"{result['property']}[{inside}]" if inside else result["property"]


def test_every_case_is_in_the_table():
    """The table has a row for each checkpoint that is made."""
    assert set(CASES) == set(checkpoints.MAKE)


@pytest.mark.parametrize("case", checkpoints.MAKE)
def test_checkpoint(case, table, project, tmp_path, monkeypatch):
    """In CI, a checkpoint exits and changes state as the table says: in those checks, and in no other."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("CI", "true")
    folder = checkpoints.write(table, case, tmp_path / case)
    code = main(["check", f"demo={folder}", "--json", str(tmp_path / "out.json"), "--show", "none"])
    (model,) = json.loads((tmp_path / "out.json").read_text())["models"]
    compared = [result for result in model["results"] if result["change"] is not None]  # those that state a margin
    changes = {label(result): result["change"] for result in compared}
    expected = CASES[case]
    measured = {name for name, change in changes.items() if change["value"] is not None}
    for state in ("regressed", "undecided", "new", "improved", "stale"):
        found = {name for name, change in changes.items() if change["state"] == state}
        named = set(expected.get(state, ()))
        assert found == (named if named != {"*"} else _valued(project)), state
    assert code == expected["exit"]
    assert {changes[name]["comparison"] for name in measured} <= {"paired", "exact"}
    assert {changes[name]["tokens"] for name in measured} <= {expected.get("tokens", "same")}
    if expected.get("stale"):
        assert all(
            "tokens were removed, renamed or moved" in c["reason"] for c in changes.values() if c["state"] == "stale"
        )
    if case == "identical":
        assert all(changes[name]["value"] == 0 for name in measured)


def _valued(project):
    document = json.loads((project / "embcheck-baselines" / "demo.json").read_text())
    return {label(entry) for entry in document["entries"].values() if entry["estimate"] is not None}


def test_regression_names_the_tokens_that_moved(table, project, tmp_path, monkeypatch):
    """Of flipped ASCII rows, the units that moved most are ASCII characters."""
    monkeypatch.chdir(project)
    folder = checkpoints.write(table, "ascii_flipped", tmp_path / "m")
    main(["check", f"demo={folder}", "--property", "ascii*", "--json", str(tmp_path / "o.json"), "--show", "none"])
    (model,) = json.loads((tmp_path / "o.json").read_text())["models"]
    moved = next(r["change"]["moved"] for r in model["results"] if label(r) == "ascii_anti_alignment[ascii]")
    assert len(moved) == 10
    tokens = [entry["token"].removeprefix("##") for entry in moved]
    assert all(len(token) == 1 and token.isascii() for token in tokens)


def test_noise_raises_no_alarm(table, project):
    """Over several seeds, noise of 1e-4 leaves every check matching (gains take too long, and are left out)."""
    checks = [c for c in checks_of(collect.functions()) if c.declaration.id not in {"analogy_gain", "random_baseline"}]
    for seed in range(SEEDS):
        gate = Gate(project / "embcheck-baselines", "both", "fail")
        made = Model(spec.parse("demo"), lambda seed=seed: table.with_vectors(checkpoints.noisy(table, seed)))
        run = execute([made], checks, settings=Settings(probes=1000), policy=Policy(gate=gate))
        states = {r.check.label: r.change["state"] for r in run.results if r.change}
        assert set(states.values()) == {"match"}, (seed, states)


@pytest.mark.parametrize("name", SHARP)
def test_paired_intervals_are_far_narrower(table, name):
    """On noise of 1e-4 the paired interval is at least 500 times narrower than the unpaired one."""
    check = next(c for c in checks_of(collect.functions()) if c.label == name)
    settings = Settings(probes=1000)
    old = evaluate(check, table, settings).estimate.snapshot()
    new = evaluate(check, table.with_vectors(checkpoints.noisy(table)), settings).estimate.snapshot()
    paired, unpaired = between(old, new, 0.95), _unpaired(old, new, 0.95)
    assert paired.comparison == "paired"
    assert (unpaired.high - unpaired.low) / (paired.high - paired.low) >= 500
