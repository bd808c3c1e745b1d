"""What GitHub Actions shows: a summary of at most 1 MiB and ten errors a step, so what is most urgent comes first."""

from __future__ import annotations

import pytest
from records import model, report, result

from embcheck.checks.record import Change
from embcheck.reports import outputs, summary

MIB = 2**20


def failing(number, verdict="refuted", **changes):
    return result(verdict, "fail", id=f"{verdict}_{number}", reason="it is so " * 30, **changes)


@pytest.fixture
def step(monkeypatch, tmp_path):
    """Where a step's summary is written."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    return tmp_path / "step.md"


def models(count):
    """Models whose checks pass, but for two each."""
    good = [result(id=f"good_{number}", reason="all is well, " * 20) for number in range(40)]
    return [
        model(*good, failing(number, "inconclusive"), failing(number), alias=f"m{number}") for number in range(count)
    ]


@pytest.mark.slow
def test_a_step_summary_that_is_too_long_has_what_fails(step):
    """Of 110 models with 42 checks each, the summary of one step shows every failure, and says what is left out."""
    outputs.deliver(report(*models(110)))
    text = step.read_text()
    assert 0.8 * MIB < len(text.encode()) <= MIB
    assert "220 of 4620 checks fail" in text
    assert all(f"`refuted_{number}`" in text for number in range(110))
    assert all(f"`inconclusive_{number}`" in text for number in range(110))
    left = 4620 - text.count("| `")
    assert f"**{left} checks are left out here, 0 of them failed**" in text


def test_several_summaries_of_a_step_share_its_room(step):
    """What a step has written already counts, and what fits is whole."""
    step.write_text("x" * (MIB - 10_000))
    outputs.deliver(report(*models(3)))
    assert step.stat().st_size <= MIB
    assert "left out here, 0 of them failed" in step.read_text()
    step.write_text("")
    outputs.deliver(report(*models(3)))
    assert "left out" not in step.read_text()


def test_where_failures_do_not_fit_the_refuted_come_first(step):
    """Refuted checks stand before undecided ones where not even the failures have room."""
    step.write_text("x" * (MIB - 8_000))
    outputs.deliver(report(model(*(failing(n, "inconclusive") for n in range(20)), *map(failing, range(20)))))
    text = step.read_text()
    assert step.stat().st_size <= MIB
    assert "`refuted_0`" in text
    assert "`inconclusive" not in text


def test_what_made_a_model_comes_first_among_the_errors(step):
    """One error a model, before its checks', says what made it of its baseline's checkpoint; ten are not exceeded."""
    told = report(model(*map(failing, range(12)), likely="looks like this:\n100% rows", alias="a,b"), model(result()))
    lines = list(outputs.workflow_commands(told))
    assert lines[0].startswith("::error title=a%2Cb against its baseline::looks like this:")
    assert lines[0].endswith("100%25 rows")
    assert [line[:7] for line in lines] == ["::error"] * 10 + ["::warni"]
    assert lines[-1].startswith("::warning title=3 more checks failed::")


def test_ten_errors_are_the_worst_and_the_rest_is_one_line(step):
    """GitHub shows ten errors a step: refuted checks first, and what else failed in one warning."""
    undecided = [failing(number, "inconclusive") for number in range(8)]
    lines = list(
        outputs.workflow_commands(report(model(*undecided, result()), model(*map(failing, range(7)), alias="b")))
    )
    assert [line[:7] for line in lines] == ["::error"] * 10 + ["::warni"]
    assert [line.split("=")[1].split(" on ")[0] for line in lines[:8]] == [
        *(f"refuted_{n}" for n in range(7)), "inconclusive_0",
    ]  # fmt: skip
    assert lines[-1].startswith("::warning title=5 more checks failed::inconclusive_3 on m, ")
    assert all(line.isprintable() for line in lines)


def test_a_summary_has_the_worst_first():
    """The table of what fails has what regressed before what is undecided, whatever their names."""
    states = {"a": "undecided", "b": "regressed", "c": "stale"}
    failing_ones = [
        result(id=name, outcome="fail", change=Change(state=state, passes=False)) for name, state in states.items()
    ]
    text = summary.markdown(report(model(*failing_ones)))
    assert sorted(states, key=lambda name: text.index(f"`{name}`")) == ["b", "c", "a"]
