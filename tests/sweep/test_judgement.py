"""What a sweep passes: nothing that is missing, nothing by what was stored, no number in the place of another."""

from __future__ import annotations

import json

import pytest
import torch
import training_runs
from safetensors.torch import load_file, save_file

from embcheck.cli import main
from embcheck.reports.series import series
from embcheck.settings import Settings
from embcheck.sweep import sweep
from embcheck.sweep.store import read

ROWS = 300
SKIPPED = "frequency_norm"  # of more words than these vocabularies have


@pytest.fixture
def folder(tmp_path):
    """Four checkpoints: one of numbers, one of none, one that is nearly of none, one of numbers again."""
    broken = {10: ROWS, 20: ROWS - 30}
    return training_runs.write(tmp_path / "a", [0, 10, 20, 30], 99, rows=ROWS, width=16, nan_rows=broken)


@pytest.fixture
def own(tmp_path):
    """Write a property of one exact value, above a bound."""

    def write(bound, value=0.7):
        file = tmp_path / "own.py"
        file.write_text(
            "from embcheck import Estimate, above, claim\n\n"
            f"@claim(above({bound}), margin=0.1)\ndef level(table):\n"
            f'    """It is above a bound."""\n    return Estimate.exact({value})\n'
        )
        return file

    return write


def command(*arguments, out):
    return main(["sweep", *map(str, arguments), "--executor", "thread", "--out", str(out)])


def test_a_table_of_no_numbers_fails_a_sweep(folder, tmp_path, capsys):
    """A check that had a value and is skipped fails, and every row says how many rows it is about."""
    out = tmp_path / "out.parquet"
    assert command("--glob", folder / "*", "--property", training_runs.PROPERTY, out=out) == 1
    rows = {row["step"]: row for row in read(out)}
    assert [(r["verdict"], r["outcome"], r["rows"]) for r in rows.values()] == [
        ("holds", "pass", ROWS - 1),  # the first word stands for what is unknown
        ("skipped", "fail", 0),
        ("holds", "pass", 30),
        ("holds", "pass", ROWS - 1),
    ]
    assert json.loads(rows[20]["excluded"]) == {"non_finite": ROWS - 30}
    said = capsys.readouterr().out
    assert "fails at step 10, after step 0: skipped" in " ".join(said.split())
    assert said.splitlines()[2] == f"{folder} step 20: 270 rows are not finite, 30 are measured"


def test_rows_of_zeros_are_told_of_where_they_are_many(tmp_path, capsys):
    """What is zero is measured as little as what is no number; a single row, as padding has, is no news."""
    folder = training_runs.write(tmp_path / "a", [0, 10], 99, rows=ROWS, width=16)
    for step, zeros in ((0, 1), (10, 200)):
        file = folder / f"checkpoint-{step}/model.safetensors"
        matrix = load_file(file)["wte.weight"]
        matrix[:zeros] = 0
        save_file({"wte.weight": matrix}, file)
    assert command("--glob", folder / "*", "--property", training_runs.PROPERTY, out=tmp_path / "out.parquet") == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if "are zero" in line]
    assert notes == [f"{folder} step 10: 200 rows are zero, 100 are measured"]
    assert main(["check", str(folder / "checkpoint-10"), "--property", training_runs.PROPERTY]) == 0
    assert "checkpoint-10: 200 rows are zero, 100 are measured" in capsys.readouterr().err


def test_a_sweep_of_nothing_but_skips_exits_5(folder, tmp_path, monkeypatch):
    """As ``check`` does, in continuous integration too."""
    arguments = [folder / "checkpoint-0", "--property", SKIPPED]
    assert command(*arguments, out=tmp_path / "out.parquet") == 5
    monkeypatch.setenv("CI", "true")
    assert command(*arguments, out=tmp_path / "other.parquet") == 5


def test_skips_that_were_stored_outside_ci_do_not_pass_in_it(folder, tmp_path, monkeypatch):
    """The outcome is of the sweep that asks, not of the one that measured."""
    out = tmp_path / "out.parquet"
    arguments = [folder / "checkpoint-0", "--property", SKIPPED, "--property", training_runs.PROPERTY]
    assert command(*arguments, out=out) == 0
    monkeypatch.setenv("CI", "true")
    assert command(*arguments, out=out) == 1


@pytest.mark.parametrize(("bound", "verdict", "code"), [(0.9, "refuted", 1), (0.6, "holds", 0)])
def test_verdicts_are_of_the_present_claims(folder, own, tmp_path, bound, verdict, code):
    """A bound that was moved since judges the stored value; nothing is measured anew."""
    out = tmp_path / "out.parquet"
    arguments = [folder / "checkpoint-0", "--property", "level"]
    assert command(*arguments, "--properties", own(0.5), out=out) == 0
    seconds = read(out)[0]["seconds"]
    assert command(*arguments, "--properties", own(bound, value=0), out=out) == code
    (row,) = read(out)
    assert (row["verdict"], row["value"], row["seconds"]) == (verdict, 0.7, seconds)
    assert json.loads(row["claims"])[0]["bound"] == bound


def test_an_interval_that_new_bounds_can_not_decide_is_measured_again(folder, tmp_path):
    """Estimates may be no sharper than the old bounds took."""
    out, one = tmp_path / "out.parquet", str(folder / "checkpoint-0")
    options = {"out": out, "executor": "thread", "properties": [training_runs.PROPERTY]}
    options["settings"] = Settings(probes=50)
    (row,) = sweep([one], **options).own
    assert sweep([one], **options).computed == 0
    (tmp_path / "pyproject.toml").write_text(_configured(one, f"above = {row['value']}"))
    arguments = ["sweep", "mine", "--property", training_runs.PROPERTY, "--probes", "50", "--out", str(out)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert main([*arguments, "--executor", "thread"]) == 1
    (again,) = read(out)
    assert again["seconds"] != row["seconds"]
    assert again["verdict"] == "inconclusive"


def _configured(spec, claim, exceptions=()):
    return (
        f"[tool.embcheck]\nmodels = ['mine={spec}']\n[tool.embcheck.model.mine]\nexceptions = {list(exceptions)}\n"
        f"[tool.embcheck.model.mine.claims]\n{training_runs.PROPERTY} = {{ {claim} }}\n"
    )


@pytest.mark.parametrize(("exceptions", "code"), [([], 1), ([training_runs.PROPERTY], 0)])
def test_claims_and_exceptions_of_a_model_are_obeyed(folder, tmp_path, monkeypatch, exceptions, code):
    """Named by its alias, as for ``check``."""
    text = _configured(folder / "checkpoint-0", "above = 0.99", exceptions)
    (tmp_path / "pyproject.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert command("mine", "--property", training_runs.PROPERTY, out=tmp_path / "out.parquet") == code
    (row,) = read(tmp_path / "out.parquet")
    assert row["verdict"] == "refuted"


@pytest.mark.slow
def test_one_file_keeps_what_was_measured_otherwise(folder, tmp_path):
    """Another seed, number of probes, level, type, population: each is a series of its own, and none is replaced."""
    out, one = tmp_path / "out.parquet", [str(folder / "checkpoint-0")]
    asked = [
        {},
        {"settings": Settings(seed=1)},
        {"settings": Settings(probes=50)},
        {"settings": Settings(confidence_level=0.9)},
        {"dtype": "bfloat16"},
        {"population": "all"},
    ]
    options = {"out": out, "executor": "thread", "properties": [training_runs.PROPERTY]}
    assert [sweep(one, **options, **how).computed for how in asked] == [1] * len(asked)
    assert [sweep(one, **options, **how).computed for how in asked] == [0] * len(asked)
    rows = read(out)
    columns = {(r["seed"], r["probes"], r["confidence_level"], r["dtype"], r["population"]) for r in rows}
    assert columns == {
        (0, None, 0.95, None, "known"),
        (1, None, 0.95, None, "known"),
        (0, "50", 0.95, None, "known"),
        (0, None, 0.9, None, "known"),
        (0, None, 0.95, "bfloat16", "known"),
        (0, None, 0.95, None, "all"),
    }
    lines = series(rows)
    assert [len(line.points) for line in lines] == [1] * len(asked)
    assert len({line.model for line in lines}) == len(asked)


def test_another_matrix_is_another_series(tmp_path):
    """The input's row is still there after a sweep of the output."""
    folder = training_runs.write(tmp_path / "a", [0], 1, rows=ROWS, width=16, output_breaks_at=0)
    out, options = tmp_path / "out.parquet", ["--property", training_runs.PROPERTY]
    assert command(folder / "checkpoint-0", *options, out=out) == 0
    assert command("--glob", folder / "*", "--matrix", "output", *options, out=out) == 1
    assert [(row["matrix"], row["verdict"]) for row in read(out)] == [("input", "holds"), ("output", "refuted")]


def test_equal_tables_are_said_and_both_kept(tmp_path, capsys):
    """Checkpoints that should differ may be copies; each keeps its rows, whatever is swept into the file later."""
    folder = training_runs.write(tmp_path / "a", [0, 10], 99, rows=ROWS, width=16)
    (folder / "checkpoint-10" / "model.safetensors").write_bytes(
        (folder / "checkpoint-0" / "model.safetensors").read_bytes()
    )
    out, options = tmp_path / "out.parquet", ["--property", training_runs.PROPERTY]
    assert command("--glob", folder / "*", *options, out=out) == 0
    assert "the same table at steps 0, 10" in capsys.readouterr().out
    assert command("random:50x4", "--property", "isotropy", out=out) in {0, 1}
    assert sorted(row["step"] for row in read(out)) == [0, 0, 10]


def test_a_tied_output_is_a_series_of_its_own(tmp_path):
    """Though it is the same tensor, and nothing is measured again."""
    folder = training_runs.write(tmp_path / "a", [0], 1, rows=ROWS, width=16)
    out, one = tmp_path / "out.parquet", str(folder / "checkpoint-0")
    options = {"out": out, "executor": "thread", "properties": [training_runs.PROPERTY]}
    assert [sweep([spec], **options).computed for spec in (one, f"{one},matrix=output")] == [1, 0]
    assert [row["matrix"] for row in read(out)] == ["input", "output"]


LAYERED = '''
from embcheck import Estimate, above, claim

@claim(above(0.0), on_noise="any")
def of_a_layer(table):
    """It is about other weights than the table."""
    return Estimate.exact(float(table.tensor("mlp_in", 0).sum()))
'''


def test_what_looks_at_other_weights_is_of_its_checkpoint(tmp_path):
    """Two checkpoints share their embedding and not the rest: neither has the other's number."""
    folder = training_runs.write(tmp_path / "a", [0, 10], 99, rows=ROWS, width=16)
    matrix = load_file(folder / "checkpoint-0" / "model.safetensors")
    for step, value in ((0, 1.0), (10, -1.0)):
        layer = {"h.0.mlp.c_fc.weight": torch.full((16, 64), value)}
        save_file(matrix | layer, folder / f"checkpoint-{step}" / "model.safetensors")
    file = tmp_path / "own.py"
    file.write_text(LAYERED)
    options = {"out": tmp_path / "out.parquet", "property_files": [file], "properties": ["of_a_layer"]}
    found = sweep(globs=[str(folder / "*")], executor="thread", workers=1, **options)
    assert [row["value"] for row in found.rows] == [1024.0, -1024.0]
    assert sweep(globs=[str(folder / "*")], executor="thread", **options).computed == 0


def test_a_refuted_description_passes_a_sweep(folder, own, tmp_path):
    """Its verdict stands in every row; that of a claim with the same bound fails."""
    (file := own(0.9)).write_text(file.read_text().replace("margin=0.1", 'kind="description", margin=0.1'))
    for kind, code in (("description", 0), ("claim", 1)):
        file.write_text(file.read_text().replace('"description"', f'"{kind}"'))
        out = tmp_path / f"{kind}.parquet"
        assert command("--glob", folder / "*", "--properties", file, "--property", "level", out=out) == code
        verdicts = {(row["verdict"], row["outcome"]) for row in read(out) if row["step"] in {0, 30}}
        assert verdicts == {("refuted", "fail" if code else "pass")}
