"""A budget of seconds: fewer probes, honest intervals, checks left out with the reason."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

import embcheck
from embcheck import EmbeddingTable, Estimate, above, claim, measures
from embcheck.errors import UsageError
from embcheck.run.budget import FEWEST_PROBES, FIRST_PROBES, Budget
from embcheck.settings import current
from embcheck.training.monitor import Monitor

ROWS = 2_000


@pytest.fixture(scope="module")
def table():
    vectors = np.random.default_rng(1).normal(0.1, 1, (ROWS, 16)).astype(np.float32)
    return EmbeddingTable.from_arrays(vectors, [f"word{i}" for i in range(ROWS)])


@pytest.fixture
def slow(monkeypatch):
    """A property over probes on a clock of its own: a hundredth of a second a probe, and one of fixed cost."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    ran = []

    @claim(above(-9))
    def toy_probes(table):
        """Costs in proportion to its probes."""
        probes = table.probes()
        now[0] += 0.01 * len(probes)
        ran.append(("probes", len(probes)))
        values = table.norms.numpy()[probes]
        return Estimate.from_units(values, unit="probe tokens", population=len(table.population), over_probes=True)

    @claim(above(-9))
    def toy_fixed(table):
        """Costs three seconds."""
        now[0] += 3
        ran.append(("fixed", current().probes))
        return Estimate.exact(1.0)

    return toy_probes, toy_fixed, ran, now


def test_without_pressure_nothing_changes(table):
    """With time enough the report is the one without a budget."""
    free, budgeted = (
        embcheck.check(table, properties="positive_cosine_bias", probes=300, max_seconds=limit) for limit in (None, 600)
    )
    assert free.document["models"] == budgeted.document["models"]


def test_fewer_probes_where_time_is_short(table, slow):
    """It begins with few probes, and runs again with as many as fit: a prefix of all, with its wider interval."""
    probes, _, ran, now = slow
    run = embcheck.check(table, properties=probes, max_seconds=8)
    assert [kind for kind, _ in ran] == ["probes", "probes"]
    assert ran[0][1] == FIRST_PROBES
    assert ran[1][1] == int(100 * 0.8 * 7 / 1)
    assert now[0] <= 8
    estimate = run.results[0].estimate
    alone = embcheck.check(table, properties=probes, probes=560).results[0].estimate
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (alone.value, alone.low, alone.high, 560)
    truth = table.norms.numpy().mean()
    assert estimate.low < truth < estimate.high


def test_what_does_not_fit_is_skipped_with_the_reason(table, slow):
    """The cheapest runs first; what no probes make cheaper is left out, and says so."""
    probes, fixed, *_ = slow
    budget = Budget(2.0)
    from embcheck.checks.evaluate import checks_of, evaluate
    from embcheck.settings import Settings

    checks = checks_of([fixed, probes])

    def spend():
        return budget.spend(checks, lambda c, s: evaluate(c, table, s), Settings(probes="all"), rows=ROWS)

    first = spend()
    assert [str(one.verdict) for one in first] == ["holds", "skipped"]  # costs were unknown: one overran
    second = spend()
    assert [str(one.verdict) for one in second] == ["skipped", "holds"]
    assert second[0].reason == "budget: it does not fit into what is left of 2 seconds"
    third = spend()
    assert third[1].estimate.n == 160
    assert third[1].estimate.n >= FEWEST_PROBES


def test_a_monitor_keeps_to_its_budget(table, slow):
    """From the second observation on, it is known what each check costs."""
    probes, fixed, _, now = slow
    words = list(table.tokens)
    module = torch.nn.Embedding(ROWS, 16)
    monitor = Monitor(words, properties=[probes, fixed], probes="all", max_seconds=6)
    spent = []
    for step in range(4):
        before = now[0]
        monitor.observe(module, step)
        spent.append(now[0] - before)
    assert max(spent[1:]) <= 6
    assert all(one.values["embcheck/toy_fixed"] == 1 for one in monitor.observations)
    assert monitor.observations[-1].run.results[0].estimate.n >= FEWEST_PROBES


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_wrong_budgets_are_refused(table, seconds):
    """A number of seconds is positive."""
    with pytest.raises(UsageError, match="max_seconds must be a positive number"):
        embcheck.check(table, properties="isotropy", max_seconds=seconds)


def test_real_measures_get_fewer_probes(table):
    """The shipped properties over probes take the count that they are given."""

    @claim(above(0))
    def toy_share(table):
        """The share of non-negative cosines."""
        return measures.non_negative_share(table)

    budget = Budget(1e-9)
    from embcheck.checks.evaluate import checks_of, evaluate
    from embcheck.settings import Settings

    found = budget.spend(checks_of([toy_share]), lambda c, s: evaluate(c, table, s), Settings(), rows=ROWS, spent=-1e-3)
    assert found[0].estimate.n == FIRST_PROBES
