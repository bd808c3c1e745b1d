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

    @claim(above(0), kind=["a b", "c"])
    def toy_kinds(table, kind, rng):
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
    assert len(seen.values) == 3 * 4 + 1


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
