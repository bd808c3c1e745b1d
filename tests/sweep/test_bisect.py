"""Where a claim broke."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import training_runs

from embcheck.checks.collect import collect
from embcheck.claims import Verdict
from embcheck.cli import main
from embcheck.errors import UsageError
from embcheck.settings import Settings
from embcheck.spec import parse
from embcheck.sweep.bisect import between, bisect
from embcheck.sweep.plan import Checkpoint

ROWS, WIDTH, PROPERTY = 300, 16, training_runs.PROPERTY


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    """200 checkpoints; the claim breaks at step 1,370."""
    folder = tmp_path_factory.mktemp("long")
    return training_runs.write(folder, list(range(0, 2000, 10)), 1370, rows=ROWS, width=WIDTH)


@pytest.mark.slow
def test_names_the_right_one_of_two_hundred(long_run):
    """And looks at no more than eight, for neither end is next to it."""
    (check,) = collect(globs=[PROPERTY])
    found = between(str(long_run / "checkpoint-0"), str(long_run / "checkpoint-1990"))
    assert len(found) == 200
    broken = bisect(found, check, Settings())
    assert (broken.last_good.step, broken.first_bad.step) == (1360, 1370)
    assert len(broken.evaluated) <= 8


def test_at_most_nine_looks_wherever_it_breaks(monkeypatch):
    """Eight halve 199 places to one, and the end that the answer rests on is the ninth."""
    found = [Checkpoint("run", step, parse(f"./{step}")) for step in range(200)]
    how = {"device": "cpu", "dtype": "float64", "population": "all"}
    monkeypatch.setattr("embcheck.sources.load", lambda spec, **given: int(spec.target[2:]) if given == how else None)
    monkeypatch.setattr("embcheck.run.session.Loaded.note", None)
    for breaks_at in range(1, 200):
        verdicts = ["holds" if step < breaks_at else "refuted" for step in range(200)]

        def measure(session, _check, model, verdicts=verdicts):
            (loaded,) = session.loaded(model)
            return SimpleNamespace(verdict=Verdict(verdicts[loaded.table]))

        monkeypatch.setattr("embcheck.run.session.Session.measure", measure)
        broken = bisect(found, None, Settings(), **how)
        assert (broken.last_good.step, broken.first_bad.step) == (breaks_at - 1, breaks_at)
        looked_at = {one.step for one, _ in broken.evaluated}
        assert {breaks_at - 1, breaks_at} <= looked_at
        assert len(looked_at) == len(broken.evaluated) <= 9


@pytest.mark.parametrize("breaks_at", [10, 110, 60])
def test_every_place_is_found(tmp_path, breaks_at):
    """The first after the good end, the last, and one between."""
    folder = training_runs.write(tmp_path, list(range(0, 120, 10)), breaks_at, rows=ROWS, width=WIDTH)
    (check,) = collect(globs=[PROPERTY])
    found = between(str(folder / "checkpoint-0"), str(folder / "checkpoint-110"))
    broken = bisect(found, check, Settings())
    assert (broken.last_good.step, broken.first_bad.step) == (breaks_at - 10, breaks_at)


def test_a_checkpoint_that_is_nearly_broken_says_so_first(tmp_path, capsys):
    """Rows without numbers are in no verdict: that the claim holds on the others is said after them."""
    folder = training_runs.write(tmp_path, [0, 10, 20], 20, rows=ROWS, width=WIDTH, nan_rows={10: 270})
    assert main(["bisect", str(folder / "checkpoint-0"), str(folder / "checkpoint-20"), "--property", PROPERTY]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "step 10: 270 rows are not finite, 30 are measured"
    assert said[1].startswith("last good")


def test_command_says_where(run, capsys):
    """The two neighbours, with their estimates."""
    ends = [str(run / "checkpoint-0"), str(run / "checkpoint-110")]
    assert main(["bisect", *ends, "--property", PROPERTY]) == 0
    good, bad, count = capsys.readouterr().out.splitlines()
    assert "last good" in good
    assert "checkpoint-60" in good
    assert "first bad" in bad
    assert "checkpoint-70" in bad
    assert count == "4 checkpoints evaluated"


@pytest.mark.parametrize("options", [[], ["--glob", "{}/checkpoint-*"]])
@pytest.mark.parametrize("way", ["{},matrix=output", "{},tensor=lm_head.weight"])
def test_checkpoints_between_are_read_as_the_ends_are(tmp_path, capsys, way, options):
    """The output matrix breaks at another step than the input, and it is the one that was asked for."""
    folder = training_runs.write(tmp_path / "a", [0, 10, 20, 30], 10, rows=ROWS, width=WIDTH, output_breaks_at=30)
    ends = [way.format(folder / f"checkpoint-{step}") for step in (0, 30)]
    options = [option.format(folder) for option in options]
    assert main(["bisect", *ends, "--property", PROPERTY, *options]) == 0
    good, bad, _ = capsys.readouterr().out.splitlines()
    assert way.format("checkpoint-20") in good
    assert way.format("checkpoint-30") in bad


def test_other_schemes_are_kept(tmp_path, monkeypatch):
    """Hidden states and encoders are bisected as such, and ends that are read in two ways are refused."""
    folder = training_runs.write(tmp_path / "a", [0, 10, 20], 10, rows=ROWS, width=WIDTH)
    monkeypatch.setattr("embcheck.sources.check", lambda _spec: None)
    for way in ("hidden:{}@layer=2,states=words", "st:{},space=tokens"):
        found = between(way.format(folder / "checkpoint-0"), way.format(folder / "checkpoint-20"))
        assert [one.spec.text for one in found] == [way.format(folder / f"checkpoint-{step}") for step in (0, 10, 20)]
    with pytest.raises(UsageError, match="not read in the same way"):
        between(str(folder / "checkpoint-0"), f"st:{folder}/checkpoint-20")


@pytest.mark.parametrize(
    ("good", "bad", "options", "says"),
    [
        (110, 0, [PROPERTY], "must be an earlier checkpoint"),
        (80, 110, [PROPERTY], "does not hold on"),
        (0, 50, [PROPERTY], "was to be the bad one"),
        (0, 110, ["analogy*"], "must select one check"),
        (0, 110, [PROPERTY, "--glob", "nothing-*"], "matches nothing"),
        (0, 999, [PROPERTY], "no such"),
    ],
)
def test_wrong_ends_are_refused(run, capsys, good, bad, options, says):
    """One line that says why."""
    ends = [str(run / f"checkpoint-{step}") for step in (good, bad)]
    assert main(["bisect", *ends, "--property", *options]) == 4
    assert says in capsys.readouterr().err


def test_end_outside_the_glob_is_refused(run):
    """Rather than bisecting something else."""
    with pytest.raises(UsageError, match="is not among the 1 checkpoints"):
        between(str(run / "checkpoint-0"), str(run / "checkpoint-110"), str(run / "checkpoint-0"))
