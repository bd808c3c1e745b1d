"""Checkpoints of the demo model against its baseline: what must regress does, and nothing else.

With TEST_EMBCHECK_FULL=1 every analogy takes part, and noise is drawn 50 times: about a quarter of an hour.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import checkpoints
import pytest
import quantized
from gguf import GGMLQuantizationType as Kind

from embcheck import spec
from embcheck.baseline import gate
from embcheck.baseline.change import _unpaired, between
from embcheck.baseline.gate import Gate
from embcheck.checks import collect
from embcheck.checks.evaluate import checks_of, evaluate
from embcheck.cli import main
from embcheck.measures.kernels.spectrum import spectrum_of
from embcheck.run.session import Model, Policy, Session
from embcheck.settings import Settings

CASES = tomllib.loads(Path(__file__).with_name("cases.toml").read_text(encoding="utf-8"))
SEEDS, TIMES = (50, 50) if os.environ.get("TEST_EMBCHECK_FULL") else (1, 4)
BARE = {  # next to no draws and no details: the changes are the same without
    "stats.permutations.PERMUTATIONS": 10,
    "measures.geometry.neighbor_count_skewness.DRAWS": 10,
    "measures.words.axis_accuracy.RANDOM_AXES": 10,
    "measures.cosines.metric_agreement.PROBES": 200,
    "measures.words.order_agreement.EXACT_UP_TO": 0,
    **dict.fromkeys(
        ("measures.pairs.related_pair_auc.of_pairs", "measures.pairs.related_pair_auc.beside"), lambda *_: {}
    ),
    **dict.fromkeys((f"measures.words.axis_accuracy.{n}" for n in ("_positions", "_as_source")), lambda *_: {}),
    "measures.pairs.offset_consistency._details": lambda *_: {},
    "measures.words.neighbor_category_share.in_vocabulary": lambda *_: {},
    "measures.cosines.background_cosine.against_all": lambda *_: {},
}
SHARP = ("positive_cosine_bias", "ascii_anti_alignment[ascii]", "plural_direction_consistency[plural]")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick")]


@pytest.fixture(scope="module")
def project(take_in):
    """A project that the demo model was taken into."""
    return take_in("demo")


def test_every_case_is_in_the_table():
    """The table has a row for each checkpoint that is made."""
    assert set(CASES) == {*checkpoints.MAKE, *quantized.KINDS}


@pytest.mark.parametrize("case", checkpoints.MAKE)
def test_checkpoint(case, table, project, compared, tmp_path, verdicts):
    """In CI, a checkpoint exits and changes state as the table says: in those checks, and in no other."""
    found = verdicts(project, f"demo={checkpoints.write(table, case, tmp_path / case)}")
    as_the_table_says(case, project, compared, *found)


@pytest.mark.parametrize("case", ["gguf_q8_0", "gguf_q5_0"])
def test_quantized(case, table, project, compared, tmp_path, verdicts):
    """A GGUF file pairs with the original by its decoded tokens, and stays within the margins."""
    path = quantized.write(table.vectors.numpy(), quantized.KINDS[case], tmp_path / "q.gguf")
    as_the_table_says(case, project, compared, *verdicts(project, f"demo=gguf:{path}"))


def test_quantized_to_four_bits(table, take_in, compared, tmp_path, verdicts):
    """So does one in Q4_K, whose blocks of 256 need a narrower original: the model's 256 principal columns."""
    axes = spectrum_of(table).axes[:, : quantized.SUPER].float()
    narrow = (table.vectors @ axes).numpy()
    files = [quantized.write(narrow, kind, tmp_path / f"{kind.name}.gguf") for kind in (Kind.F32, Kind.Q4_K)]
    project = take_in(f"demo=gguf:{files[0]}")
    as_the_table_says("gguf_q4_k", project, compared, *verdicts(project, f"demo=gguf:{files[1]}"))


def test_compare_shows_the_drift_of_a_quantization(table, tmp_path, monkeypatch):
    """``embcheck compare`` tells how far each row of a GGUF file lies from the original's."""
    monkeypatch.chdir(tmp_path)
    quantized.write(table.vectors.numpy(), Kind.Q8_0, tmp_path / "q.gguf")
    assert main(["compare", "demo", "gguf:q.gguf", "--property", "plural*", "--json", "out.json"]) == 0
    document = json.loads(Path("out.json").read_text())
    drift = document["drift"]
    assert document["same_tokens"]
    assert [one["change"]["comparison"] for one in document["changes"]] == ["paired"]
    assert 0.9998 < drift["cosine"]["min"] < drift["cosine"]["max"] < 1.00001
    assert drift["identical_rows"] < 10
    assert 0.95 < drift["neighbor_jaccard"] < 1
    assert len(drift["moved"]) == 20


def as_the_table_says(case, project, compared, code, changes):
    expected = CASES[case]
    valued = {name for name, change in changes.items() if change["value"] is not None}
    taking_part = {check.label for check in compared}
    for state in ("regressed", "undecided", "new", "improved", "stale"):
        found = {name for name, change in changes.items() if change["state"] == state}
        named = set(expected.get(state, ()))
        assert found == (named & taking_part if named != {"*"} else _valued(project)), state
    assert code == expected["exit"]
    assert {changes[name]["comparison"] for name in valued} <= {"paired", "exact"}
    assert {changes[name]["tokens"] for name in valued} <= {expected.get("tokens", "same")}
    reasons = [change["reason"] for change in changes.values() if change["state"] == "stale"]
    assert all("tokens were removed, renamed or moved" in reason for reason in reasons)
    if case == "identical":
        assert all(changes[name]["value"] == 0 for name in valued)


def _valued(project):
    document = json.loads((project / "embcheck-baselines" / "demo.json").read_text())
    return {
        "-".join([f"{entry['property']}[", *map(str, entry["params"].values())]).replace("[-", "[") + "]"
        if entry["params"]
        else entry["property"]
        for entry in document["entries"].values()
        if entry["estimate"] is not None
    }


def test_every_property_is_compared():
    """Each property of any single model states how far it may move."""
    declared = [f.__embcheck__ for f in collect.functions()]
    assert [one.id for one in declared if one.margin is None and not one.of_pairs and one.applies is None] == []


def test_baseline_is_small(project):
    """The baseline of a model of 30,522 tokens is a file that a repository can hold."""
    assert (project / "embcheck-baselines" / "demo.json").stat().st_size < 1_500_000


def test_regression_names_the_tokens_that_moved(table, project, tmp_path, verdicts):
    """Of flipped ASCII rows, the units that moved most are ASCII characters."""
    folder = checkpoints.write(table, "ascii_flipped", tmp_path / "m")
    _, changes = verdicts(project, f"demo={folder}", "--property", "ascii*")
    moved = changes["ascii_anti_alignment[ascii]"]["moved"]
    assert len(moved) == 10
    tokens = [entry["token"].removeprefix("##") for entry in moved]
    assert all(len(token) == 1 and token.isascii() for token in tokens)


def test_noise_raises_no_alarm(table, project, compared):
    """Noise of 1e-4 on the whole table leaves every check matching."""
    checks = [c for c in compared if SEEDS > 10 or c.declaration.id != "analogy_gain"]
    policy = Policy(gate=Gate(project / "embcheck-baselines", "both", "fail"))
    for seed in range(1, SEEDS + 1):
        made = Model(spec.parse("demo"), lambda seed=seed: table.with_vectors(checkpoints.noisy(table, seed)))
        run = Session([made], Settings(probes=1000), policy).run(checks)
        states = {r.check.label: r.change.state for r in run.results if r.change}
        assert len(states) >= 30
        assert set(states.values()) == {"match"}, (seed, states)


def test_many_draws_of_noise_raise_no_alarm(small, compared, monkeypatch):
    """Over many seeds, noise of 1e-4 leaves every check of a tenth of the tokens matching."""
    for name, value in BARE.items():
        monkeypatch.setattr(f"embcheck.{name}", value)
    settings = Settings(probes=1000, seed=1)  # by seed 0 the small table was drawn
    checks = {check.label: check for check in compared}

    def snapshots(table):
        found = {name: evaluate(check, table, settings).estimate for name, check in checks.items()}
        return {name: one.snapshot() for name, one in found.items() if one is not None and one.reason is None}

    before = snapshots(small)
    assert len(before) >= 30
    for seed in range(TIMES):
        after = snapshots(small.with_vectors(checkpoints.noisy(small, seed)))
        for name, old in before.items():
            change = gate.compare(old, after[name], checks[name].declaration, settings, family=len(before))
            assert change.state == "match", (seed, name, change)


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
