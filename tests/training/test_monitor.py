"""The monitor of any training loop: what it logs, warns of, compares, stops for and writes."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import html5lib
import jsonschema
import numpy as np
import pytest
import torch

import embcheck
from embcheck import Estimate, above, claim, measures, within
from embcheck.errors import EmbcheckError, UsageError
from embcheck.reports import json_file
from embcheck.training.monitor import Monitor

WORDS = [f"word{i}" for i in range(400)]


def _properties():
    """Properties that pytest doesn't collect, for they are not at the top of the module."""

    @claim(above(0.51), margin=0.01, bad="up")
    def toy_bias(table):
        """Most cosines are positive."""
        return measures.non_negative_share(table)

    @claim(within(-3, 3))
    def toy_background(table):
        """Rows are nearly orthogonal."""
        return measures.background_cosine(table)

    @claim(above(0), sort=["a b", "c"])
    def toy_kinds(table, sort, rng):
        """A parameter and an interval."""
        return Estimate.from_units(rng.normal(10, 1, 30), unit="units", rng=rng)

    @claim(above(0))
    def toy_broken(table):
        """A property that fails to run."""
        raise EmbcheckError("a list of words is gone")

    return SimpleNamespace(bias=toy_bias, background=toy_background, kinds=toy_kinds, broken=toy_broken)


TOY = _properties()


@pytest.fixture
def module():
    generator = torch.Generator().manual_seed(3)
    found = torch.nn.Embedding(len(WORDS), 16)
    with torch.no_grad():
        found.weight.copy_(torch.randn(len(WORDS), 16, generator=generator))
    return found


def shift(module, by):
    """Move all rows the same way, which makes their cosines positive."""
    with torch.no_grad():
        module.weight[:, 0] += by


def test_it_logs_what_a_check_would_say(module):
    """Value, bounds and whether it passes, for each estimate, under names that loggers take."""
    logged = {}
    monitor = Monitor(WORDS, properties=[TOY.bias, TOY.kinds], log=logged.__setitem__, probes=50)
    seen = monitor.observe(module, 7)
    run = embcheck.check(module, tokenizer=WORDS, properties=[TOY.bias, TOY.kinds], probes=50)
    bias, first, second = (result.estimate for result in run.results)
    assert logged == {7: dict(seen.values)}
    assert seen.values["embcheck/toy_bias"] == bias.value
    assert (seen.values["embcheck/toy_bias/low"], seen.values["embcheck/toy_bias/high"]) == (bias.low, bias.high)
    assert seen.values["embcheck/toy_bias/pass"] == 0
    assert [seen.values[f"embcheck/toy_kinds/{name}"] for name in ("a b", "c")] == [first.value, second.value]
    assert seen.values["embcheck/toy_kinds/c/pass"] == 1
    assert seen.values["embcheck/seconds"] > 0
    assert seen.values["embcheck/population"] == len(WORDS)
    assert len(seen.values) == 3 * 4 + 2


def test_odd_parameters_make_names_that_loggers_take(module):
    """MLflow takes letters, digits, and a few signs."""

    @claim(above(0), word=["naïve (x)?"])
    def toy_odd(table, word):
        """A parameter that is no name."""
        return Estimate.exact(1.0)

    assert "embcheck/toy_odd/naïve _x_" in Monitor(WORDS, properties=toy_odd).observe(module, 0).values


def test_changes_are_against_the_first_observation(module):
    """The change is that of the two estimates, paired, and its interval contains it."""
    monitor = Monitor(WORDS, properties=TOY.bias, probes="all")
    first = monitor.observe(module, 0)
    assert "embcheck/toy_bias/change" not in first.values
    for step in (1, 2):
        shift(module, 0.5)
        seen = monitor.observe(module, step)
        moved = seen.values["embcheck/toy_bias"] - first.values["embcheck/toy_bias"]
        assert seen.values["embcheck/toy_bias/change"] == pytest.approx(moved, abs=1e-12)
        assert moved > 0.01
        assert any("toy_bias regressed since the first" in line for line in seen.problems)


@pytest.mark.parametrize("reaction", ["log", "warn", "stop"])
def test_reactions_to_a_regression(module, reaction, caplog):
    """It is logged only, warned of too, or stops training too; a change inside the margin does nothing."""
    monitor = Monitor(WORDS, properties=TOY.bias, on_failed="log", on_regressed=reaction)
    assert not monitor.observe(module, 0).stop
    shift(module, 1e-4)
    assert not monitor.observe(module, 1).stop
    assert not caplog.records
    shift(module, 2)
    assert monitor.observe(module, 2).stop == (reaction == "stop")
    assert [r.levelno for r in caplog.records] == ([] if reaction == "log" else [logging.WARNING])
    if reaction == "stop":
        assert "step 2: toy_bias regressed since the first observation" in caplog.text
        assert "margin 0.01" in caplog.text
        assert "training stops" in caplog.text


@pytest.mark.parametrize("reaction", ["log", "warn", "stop"])
def test_reactions_to_a_failed_claim(module, reaction, caplog):
    """A claim that is refuted is named with its estimate."""
    monitor = Monitor(WORDS, properties=TOY.background, on_failed=reaction)
    assert monitor.observe(module, 0).problems == ()
    shift(module, 12)
    seen = monitor.observe(module, 1)
    assert (seen.stop, bool(caplog.records)) == (reaction == "stop", reaction != "log")
    value = seen.values["embcheck/toy_background"]
    assert seen.problems[0].startswith(f"step 1: toy_background is refuted: {value:.4g} [")


def test_a_claim_that_never_held_stops_nothing(module, caplog):
    """Random weights refute what training is for: that is warned of, and stops once it has held and fails again."""
    monitor = Monitor(WORDS, properties=TOY.bias, on_failed="stop", probes="all")
    moves = [0.0, 0.0, 1.0, -1.0]
    seen = []
    for step, by in enumerate(moves):
        shift(module, by)
        seen.append(monitor.observe(module, step))
    assert [one.values["embcheck/toy_bias/pass"] for one in seen] == [0, 0, 1, 0]
    assert [one.stop for one in seen] == [False, False, False, True]
    assert [bool(one.problems) for one in seen] == [True, True, True, True]
    assert "training stops" in caplog.records[-1].message
    assert "training stops" not in caplog.records[0].message


def test_what_can_not_be_decided_is_no_reason_to_stop(module):
    """An estimate whose interval crosses the bound does not pass, and stops nothing."""

    @claim(above(0))
    def toy_undecided(table, rng):
        """Nothing can be said of it."""
        return Estimate.from_units([-1.0, 1.0] * 20, unit="units", rng=rng)

    seen = Monitor(WORDS, properties=toy_undecided, on_failed="stop").observe(module, 0)
    assert (seen.stop, seen.problems, seen.values["embcheck/toy_undecided/pass"]) == (False, (), 0)


def test_a_property_that_fails_to_run_is_a_failure(module):
    """Nothing passes because something is missing."""
    seen = Monitor(WORDS, properties=TOY.broken, on_failed="stop").observe(module, 0)
    assert seen.stop
    assert seen.problems == ("step 0: toy_broken failed to run: a list of words is gone",)


@pytest.mark.parametrize("error", [RuntimeError("it broke"), SystemExit(0), ZeroDivisionError()])
def test_a_property_that_raises_leaves_the_others(module, error):
    """Training goes on; the property is named with what it raised."""

    @claim(above(0))
    def toy_raising(table):
        """It raises."""
        raise error

    monitor = Monitor(WORDS, properties=[toy_raising, TOY.background])
    for step in (0, 1):
        seen = monitor.observe(module, step)
        assert not seen.stop
        assert "embcheck/toy_background" in seen.values
        assert seen.values["embcheck/toy_raising/pass"] == 0
        (problem,) = seen.problems
        assert problem.startswith(f"step {step}: toy_raising failed to run: {type(error).__name__}")


@pytest.mark.parametrize("reactions", [{"on_failed": "stop"}, {"on_failed": "log", "on_regressed": "stop"}])
def test_a_table_of_no_numbers_stops_training(module, reactions, caplog):
    """What had a value and can't be measured any more is named, and logged as not passing."""
    monitor = Monitor(WORDS, properties=[TOY.bias, TOY.background], **reactions)
    assert not monitor.observe(module, 0).stop
    with torch.no_grad():
        module.weight.fill_(float("nan"))
    seen = monitor.observe(module, 1)
    assert seen.stop
    assert (seen.values["embcheck/toy_bias/pass"], seen.values["embcheck/toy_background/pass"]) == (0, 0)
    assert seen.values["embcheck/population"] == 0
    assert "toy_background had a value, and can't be measured any more: the population has 0" in " ".join(seen.problems)
    assert "training stops" in caplog.text


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_rows_that_break_are_the_first_problem(module, value):
    """Rows of zeros or of no numbers, where the others still hold what is claimed, too; it is said once."""
    monitor = Monitor(WORDS, properties=TOY.background, on_failed="stop")
    monitor.observe(module, 0)
    with torch.no_grad():
        module.weight[:360] = value
    seen = monitor.observe(module, 1)
    assert seen.stop
    assert seen.problems[0] == "step 1: 360 rows are zero or not finite, 0 were"
    assert not monitor.observe(module, 2).stop  # it was said


def test_rows_that_are_zero_from_the_start_are_no_problem(module):
    """Rows of new tokens may begin so; a row without numbers is a problem at any step."""
    with torch.no_grad():
        module.weight[:5] = 0
    assert Monitor(WORDS, properties=TOY.background).observe(module, 0).problems == ()
    with torch.no_grad():
        module.weight[5] = float("nan")
    problems = Monitor(WORDS, properties=TOY.background).observe(module, 0).problems
    assert problems == ("step 0: 6 rows are zero or not finite, 5 were",)


def test_a_run_of_which_nothing_can_be_measured_says_so(module):
    """At the first observation nothing had a value yet, and nothing has one."""
    with torch.no_grad():
        module.weight.fill_(0.0)
    seen = Monitor(WORDS, properties=TOY.background).observe(module, 0)
    assert seen.problems[0].startswith("step 0: nothing can be measured: the population has 0")


def test_what_there_is_no_time_for_is_not_lost(module):
    """A check that is skipped for want of seconds had a value, and may have one again."""
    monitor = Monitor(WORDS, properties=TOY.background, on_failed="stop", max_seconds=100)
    monitor.observe(module, 0)
    monitor._max_seconds = 1e-9
    seen = monitor.observe(module, 1)
    assert "budget" in seen.run.results[0].reason
    assert (seen.stop, seen.problems) == (False, ())


def test_properties_of_two_models_are_refused(module):
    """Rather than watching nothing."""
    with pytest.raises(UsageError, match="only properties of two models"):
        Monitor(WORDS, properties="neighbor_overlap")


def test_a_change_on_another_scale_is_called_by_it(module):
    """A change of the reciprocal rank is not one of the rank."""

    @claim(above(0), margin=0.1)
    def toy_rank(table):
        """It is compared as something else."""
        return Estimate.exact(4.0, name="rank", compared_as=("reciprocal rank", 0.25))

    monitor = Monitor(WORDS, properties=toy_rank)
    monitor.observe(module, 0)
    values = monitor.observe(module, 1).values
    assert values["embcheck/toy_rank/change_of_reciprocal_rank"] == 0
    assert "embcheck/toy_rank/change" not in values


def test_a_resumed_run_goes_on(module, tmp_path):
    """Its baseline, what never held, and earlier steps of both reports are those of the run that was cut off."""
    options = {"properties": [TOY.bias, TOY.background], "probes": "all", "on_failed": "stop"}
    paths = {"report": tmp_path / "report.json", "html": tmp_path / "page.html"}
    straight = Monitor(WORDS, **options)
    first = Monitor(WORDS, **options, **paths)
    for monitor in (straight, first):
        monitor.observe(module, 0)
    shift(module, 1)
    for monitor in (straight, first):
        monitor.observe(module, 8)
    first.save(tmp_path / "state.json")
    first.observe(module, 9)  # after the checkpoint: a resumed run trains this step again
    shift(module, 0.1)
    resumed = Monitor(WORDS, **options, **paths)
    assert resumed.resume(tmp_path / "state.json")
    assert resumed.observe(module, 8).stop == straight.observations[-1].stop
    expected, seen = straight.observe(module, 16), resumed.observe(module, 16)
    assert {k: v for k, v in seen.values.items() if k != "embcheck/seconds"} == {
        k: v for k, v in expected.values.items() if k != "embcheck/seconds"
    }
    assert (seen.stop, seen.problems) == (expected.stop, expected.problems)
    resumed.finish()
    document = json.loads(paths["report"].read_text())
    jsonschema.validate(document, json_file.schema())
    assert [model["alias"] for model in document["models"]] == ["step-0", "step-8", "step-16"]
    assert "0 to 16" in paths["html"].read_text()


def test_a_stop_is_not_forgotten(module, tmp_path):
    """A run that was stopped, and resumed at that step, is stopped again."""
    monitor = Monitor(WORDS, properties=TOY.background, on_failed="stop")
    monitor.observe(module, 0)
    shift(module, 12)
    assert monitor.observe(module, 8).stop
    monitor.save(tmp_path / "state.json")
    resumed = Monitor(WORDS, properties=TOY.background, on_failed="stop")
    resumed.resume(tmp_path / "state.json")
    assert resumed.observe(module, 8).stop
    assert resumed.observe(module, 9).stop


def test_there_may_be_no_state(module, tmp_path):
    """Then the run begins; a file that is something else is refused."""
    assert not Monitor(WORDS, properties=TOY.bias).resume(tmp_path / "state.json")
    (tmp_path / "state.json").write_text("[]")
    with pytest.raises(UsageError, match="no state of a monitor"):
        Monitor(WORDS, properties=TOY.bias).resume(tmp_path / "state.json")


def test_the_report_is_written_as_it_goes(module, tmp_path):
    """A run that crashes leaves what was seen until then."""
    monitor = Monitor(WORDS, properties=TOY.bias, report=tmp_path / "report.json")
    for step in (0, 1):
        monitor.observe(module, step)
        assert len(json.loads((tmp_path / "report.json").read_text())["models"]) == step + 1


def test_other_weights_at_the_same_step_have_another_name(module, tmp_path):
    """They are measured again, and logged."""
    logged = []
    report = tmp_path / "report.json"
    monitor = Monitor(WORDS, properties=TOY.background, report=report, log=lambda *told: logged.append(told))
    monitor.observe(module, 5)
    shift(module, 50)
    last = monitor.observe(module, 5, name="final-checkpoint-2")
    assert last.problems
    assert [step for step, _ in logged] == [5, 5]
    aliases = [model["alias"] for model in json.loads(report.read_text())["models"]]
    assert aliases == ["step-5", "final-checkpoint-2"]


def test_a_step_is_observed_once(module):
    """Saving, evaluating and the end of training may fall on one step."""
    logged = []
    monitor = Monitor(WORDS, properties=TOY.background, log=lambda step, _: logged.append(step))
    assert monitor.observe(module, 3) is monitor.observe(module, 3)
    monitor.observe(module, 4)
    assert logged == [3, 4]


def _observed_twice(monitor, module, by):
    """Steps 0 and 10 of a run, the rows shifted in between, to the end of training."""
    monitor.observe(module, 0)
    shift(module, by)
    monitor.observe(module, 10)
    monitor.finish()


def test_the_report_has_a_model_for_each_step(module, tmp_path):
    """It keeps to the schema of all reports."""
    path = tmp_path / "report.json"
    _observed_twice(Monitor(WORDS, properties=[TOY.bias, TOY.kinds], report=path), module, 1)
    document = json.loads(path.read_text())
    jsonschema.validate(document, json_file.schema())
    assert [model["alias"] for model in document["models"]] == ["step-0", "step-10"]
    assert set(document["timing"]["models"]) == {"step-0", "step-10"}
    assert [m["results"][0]["change"] is None for m in document["models"]] == [True, False]


def test_the_page_shows_properties_over_steps(module, tmp_path):
    """A section a check, with the step at which it first fails."""
    path = tmp_path / "page.html"
    _observed_twice(Monitor(WORDS, properties=[TOY.background, TOY.kinds], html=path), module, 50)
    page = html5lib.parse(path.read_text(encoding="utf-8"), namespaceHTMLElements=False)
    assert len(page.findall(".//figure")) == 3
    failing = next(" ".join(row.itertext()) for row in page.iter("tr") if "this run" in "".join(row.itertext()))
    assert "fails" in failing
    assert "10" in failing.split()


def test_nothing_observed_writes_nothing(tmp_path):
    """A run that ended before it began leaves no report."""
    Monitor(WORDS, properties=TOY.bias, report=tmp_path / "report.json", html=tmp_path / "page.html").finish()
    assert not list(tmp_path.iterdir())


def test_training_is_left_as_it_was(module):
    """Random states, gradients, the training mode and the weights are what they were."""
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global state is what is looked at
    module.weight.grad = torch.ones_like(module.weight)
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), module.weight.detach().clone())  # noqa: NPY002
    Monitor(WORDS, properties=("positive_*", "background_*", "untrained_*", "hubness")).observe(module, 0)
    after = (torch.get_rng_state(), np.random.get_state()[1], module.weight)  # noqa: NPY002
    assert all((a == b).all() for a, b in zip(before, after, strict=True))
    assert module.training
    assert module.weight.requires_grad
    assert module.weight.grad.eq(1).all()


def test_the_weights_are_neither_copied_nor_hashed(module, monkeypatch):
    """Only results leave the device."""
    seen = []

    @claim(above(0))
    def toy_look(table):
        """Look at the table."""
        seen.append((table.vectors.data_ptr(), table.provenance.weights))
        return Estimate.exact(1.0)

    run = Monitor(WORDS, properties=toy_look).observe(module, 0).run
    assert seen == [(module.weight.data_ptr(), None)]
    assert run.document["models"][0]["weights_sha256"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_failed": "die"}, "on_failed must be 'log', 'warn' or 'stop', got 'die'"),
        ({"on_regressed": "no"}, "on_regressed must be"),
        ({"population": "some"}, "population must be"),
        ({"properties": "nosuch"}, "no property matches 'nosuch'"),
        ({"probes": 1}, "at least 2 probes"),
        ({"report": "no/such/folder/report.json"}, "no/such/folder"),
    ],
)
def test_wrong_arguments_are_refused_at_once(options, message):
    """Before training starts."""
    with pytest.raises(UsageError, match=message):
        Monitor(WORDS, **options)
