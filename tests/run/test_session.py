"""The session engine: what it keeps in memory, what it isolates, and what it says of results."""

import json

import pytest

import embcheck
from embcheck import Estimate, above, beats, claim, nulls
from embcheck.checks.check import checks_of
from embcheck.errors import SourceError
from embcheck.run.budget import Budget
from embcheck.run.session import Interrupted, Model, Session
from embcheck.settings import Settings
from embcheck.spec import parse


class Sources:
    """Models whose loads are counted, and what was in memory at each."""

    def __init__(self, *names):
        self.loads = []
        self.models = {
            name: Model(parse(f"{name}=random:{10 + i}x4"), lambda n=name: self.load(n)) for i, name in enumerate(names)
        }
        self.session = Session(self.models.values(), Settings())

    def load(self, name):
        """Note what is in memory, and load a random table."""
        self.loads.append((name, [n for n, model in self.models.items() if self.session.known(model)]))
        if name == "interrupted":
            raise KeyboardInterrupt
        if name == "bad":
            raise SourceError("no such file")
        return embcheck.load(self.models[name].spec.text)

    def get(self, *names):
        """The aliases of what was loaded."""
        return [loaded.spec.alias for loaded in self.session.loaded(*(self.models[name] for name in names))]


@pytest.fixture
def properties():
    """A property that holds, and two that raise; declared here, for what a module declares pytest would run."""

    @claim(above(0))
    def fine(table):
        """The table has rows."""
        return Estimate.exact(float(len(table.vectors)))

    @claim(above(0))
    def leaves(table):
        """It ends the process."""
        raise SystemExit(0)

    @claim(above(0))
    def divides(table):
        """It divides by nothing."""
        return Estimate.exact(len(table.vectors) / 0)

    return {function.__name__: function for function in (fine, leaves, divides)}


def test_keeps_what_is_asked_for_and_nothing_else():
    """A pair stays while it is asked for; what is not named is let go before anything is loaded."""
    sources = Sources("a", "b", "c")
    assert [sources.get("a"), sources.get("a", "b"), sources.get("a", "c"), sources.get("c")] == [
        ["a"], ["a", "b"], ["a", "c"], ["c"],
    ]  # fmt: skip
    assert sources.loads == [("a", []), ("b", ["a"]), ("c", ["a"])]
    assert sources.session.known(sources.models["a"]) is None


def test_what_fails_is_not_tried_again():
    """A model that can't be loaded raises the same error each time, and what is kept stays."""
    sources = Sources("good", "bad")
    sources.get("good")
    for _ in range(2):
        with pytest.raises(SourceError, match="no such file"):
            sources.get("good", "bad")
    assert [name for name, _ in sources.loads] == ["good", "bad"]
    assert sources.session.known(sources.models["good"]) is not None


def test_a_property_that_raises_leaves_the_others(properties):
    """What a property raises, an exit included, is an error result that names its line; the others run."""
    run = embcheck.check("random:20x4", properties=[properties[name] for name in ("leaves", "divides", "fine")])
    assert [str(result.verdict) for result in run.results] == ["error", "error", "holds"]
    reasons = [result.reason for result in run.results]
    assert reasons[0].startswith("SystemExit: 0 (test_session.py:")
    assert reasons[0].endswith("raise SystemExit(0))")
    assert reasons[1].startswith("ZeroDivisionError: ")
    assert reasons[1].endswith("return Estimate.exact(len(table.vectors) / 0))")
    assert not run.passed


def test_results_and_report_say_the_same():
    """Adjusted p-values stand in the results as in the report: nothing is changed behind the values."""

    @claim(beats(nulls.gaussian), beats(nulls.row_shuffled), on_noise="any")
    def first_entry(table):
        """The first number is large."""
        return Estimate.exact(float(table.vectors[0, 0]), name="first")

    run = embcheck.check("random:20x4", properties=first_entry)
    (stated,) = run.document["models"][0]["results"]
    (result,) = run.results
    assert [null.p_adjusted for null in result.nulls] == [null["p_adjusted"] for null in stated["nulls"]]
    assert all(null.p_adjusted is not None for null in result.nulls)
    assert json.loads(json.dumps(run.document)) == run.document


def test_a_session_does_not_isolate_where_it_is_told(properties):
    """Under pytest what a property raises stays what it is."""
    model = Model(parse("random:20x4"), lambda: embcheck.load("random:20x4"))
    session = Session([model], Settings(), isolates=False)
    with pytest.raises(ZeroDivisionError):
        session.measure(checks_of([properties["divides"]])[0], model)


@pytest.mark.parametrize("budget", [None, 60.0])
def test_an_interruption_carries_what_was_measured(properties, budget):
    """A run that is interrupted while it reads its second model raises with the results of the first."""
    models = Sources("one", "interrupted")
    checks = checks_of([properties["fine"], properties["divides"]])
    with pytest.raises(Interrupted) as caught:
        models.session.run(checks, budget=None if budget is None else Budget(budget))
    run = caught.value.run
    assert isinstance(caught.value, KeyboardInterrupt)
    assert str(caught.value) == "interrupted while interrupted was read; its .run is what was measured until then"
    assert run.report.run.partial
    assert [(model.alias, len(model.results)) for model in run.report.models] == [("one", 2)]
    assert [result.verdict for result in run.results] == ["holds", "error"]


def test_an_interruption_names_the_check_that_it_was_in(properties):
    """Who waits for a slow check and gives up is told which it was, and of which model."""

    @claim(above(0))
    def slow(table):
        """It takes for ever."""
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"^interrupted in slow of one; its \.run") as caught:
        Sources("one", "two").session.run(checks_of([properties["fine"], slow]))
    assert [result.verdict for result in caught.value.run] == ["holds"]


def test_an_interruption_before_anything_was_measured_carries_nothing(properties):
    """A run that is interrupted while it reads its first model raises with a report without models."""
    with pytest.raises(Interrupted) as caught:
        Sources("interrupted", "one").session.run(checks_of([properties["fine"]]))
    assert (caught.value.run.report.models, caught.value.run.results) == ((), ())


def test_results_are_told_one_by_one(properties):
    """Who watches a run hears of each model before its results, and of each result before the next is measured."""
    models, told = Sources("one", "two"), []
    models.session.run(
        checks_of([properties["fine"], properties["divides"]]),
        watch=lambda model, result: told.append((model.alias, result and result.id, len(models.loads))),
    )
    assert told == [
        (name, check, count) for count, name in enumerate(("one", "two"), 1) for check in (None, "fine", "divides")
    ]
