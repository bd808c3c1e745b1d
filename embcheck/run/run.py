"""A run: its results, one of them by its name, and all of them as a report, a page or a frame."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, overload

from msgspec import structs

from embcheck.checks.check import plain_params
from embcheck.checks.record import builtins
from embcheck.claims import UNMEASURED
from embcheck.errors import ChecksFailed, UsageError
from embcheck.estimate import by_reports
from embcheck.reports import html, json_file, wording
from embcheck.run import frame
from embcheck.run.document import report, settled
from embcheck.text import inert_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import SupportsIndex

    import pandas as pd

    from embcheck.baseline.file import Entry
    from embcheck.checks.check import GateMode, Result
    from embcheck.checks.record import Json, ModelRecord, Report, State
    from embcheck.errors import EmbcheckError
    from embcheck.settings import Settings

_NAMED = 10


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What checks found on one or more models."""

    report: Report
    """What was found, as ``embcheck-report/1`` states it."""
    results: tuple[Result, ...]
    """One for each model and check, in order."""
    load_errors: tuple[str, ...] = ()
    """Why models failed to load, where others did not."""
    notes: tuple[str, ...] = ()
    """What a reader should know of how models were read, such as that the output matrix is tied to the input."""
    entries: Mapping[str, tuple[tuple[Entry, State], ...]] = field(default_factory=dict)
    """By alias, what a baseline would keep of each result, and its state."""

    @property
    def document(self) -> Json:
        """The report as JSON types, ``embcheck-report/1``."""
        document: Json = builtins(self.report)
        return document

    @property
    def passed(self) -> bool:
        """Whether something was measured, every check passes, and nothing else fails it (unused baseline entries)."""
        return not self.is_unmeasured and self.report.passes

    @property
    def is_unmeasured(self) -> bool:
        """Whether no check was measured, each being skipped or not applicable, and no baseline misses one."""
        return all(r.verdict in UNMEASURED and (r.change is None or r.passed) for r in self.results)

    @property
    def failed(self) -> tuple[Result, ...]:
        """The results that don't pass, in order."""
        return tuple(result for result in self.results if not result.passed)

    def __len__(self) -> int:
        """How many results there are."""
        return len(self.results)

    def __iter__(self) -> Iterator[Result]:
        """The results in order."""
        return iter(self.results)

    def __contains__(self, check: object) -> bool:
        """Whether a check, by its property's id or its label, was run; or whether a result is the run's."""
        return check in self.results or any(_is_called(result, check) for result in self.results)

    @overload
    def __getitem__(self, check: str | SupportsIndex) -> Result: ...

    @overload
    def __getitem__(self, check: slice) -> tuple[Result, ...]: ...

    def __getitem__(self, check: str | SupportsIndex | slice) -> Result | tuple[Result, ...]:
        """The result at a place, or the only one of a property or label: ``run["analogy_rank[king]"]``; see ``get``."""
        return self.get(check) if isinstance(check, str) else self.results[check]

    def get(self, check: str, /, *, model: str | None = None, **params: Any) -> Result:
        """The one result of a check.

        Parameters
        ----------
        check
            Id of its property, such as ``"analogy_rank"``, or its label: ``"analogy_rank[king]"``.
        model
            Its model, by alias or by the spec that was given; not needed where the check was run on one.
        **params
            Values of the property's parameters, and ``other``: the alias of the second model.

        Raises
        ------
        UsageError
            No result is so, or several are; the message names them.
        """
        aliases = {record.spec: record.alias for record in self.report.models}
        asked = ({} if model is None else {"model": aliases.get(model, model)}) | plain_params(params)
        matching = [
            result for result in self.results if _is_called(result, check) and asked.items() <= _about(result).items()
        ]
        if len(matching) == 1:
            return matching[0]
        said = ", ".join([repr(check), *(f"{name}={value!r}" for name, value in asked.items())])
        if matching:
            one = ", ".join(f"{name}={value!r}" for name, value in _about(matching[0]).items())
            example = f"run.get({matching[0].check.declaration.id!r}, {one})"
            raise UsageError(f"{len(matching)} results are {said}: {_names(matching)}; say which, such as {example}")
        akin = [result for result in self.results if _is_called(result, check)]
        close = difflib.get_close_matches(check, [result.check.label for result in self.results])
        akin = akin or [result for result in self.results if result.check.label in close] or list(self.results)
        raise UsageError(f"no result is {said}; the run has {_names(akin) or 'none'}")

    def raise_if_failed(self) -> None:
        """Do nothing where every check passes.

        Raises
        ------
        ChecksFailed
            Some check does not pass, none was measured, or something else fails the run. The message names it.
        """
        if not self.results:
            raise ChecksFailed("no checks ran")
        if self.is_unmeasured:
            names, first = _names(self.results, verdicts=True), self.results[0]
            raise ChecksFailed(f"nothing was measured: {names}; {first.check.label}: {first.reason}")
        if not self.passed:
            names = f": {_names(self.failed, verdicts=True)}" if self.failed else ""
            raise ChecksFailed(wording.headline_of(self.report.models) + names)

    def to_dataframe(self) -> pd.DataFrame:
        """The results as a pandas ``DataFrame``, one row each.

        Columns: model, property, parameters (as the label has them), other (the second model), estimate (what was
        measured), value, low, high, confidence_level, exact, claim (the bounds in words), verdict, passed, expected
        (False for a known exception, which passes by not holding), kind (claim or description), n, unit, method,
        p_value (the largest against a null to be beaten), effect (the measure's size of effect), rests_on (the ladder's
        rung that suffices, ``more`` where none does), control (on how many of the 20 random tables it holds), change
        (its state against the baseline), reason (why it does not hold, fails, or was not measured), seconds.
        Rows stand in the order of ``results``; ``dropna(subset="value")`` leaves out what was not measured. Cells hold
        names as they are, which is data here: escape them where they are shown as HTML.

        Raises
        ------
        UsageError
            pandas is not installed; the extra ``pandas`` brings it.
        """
        return frame.dataframe(self.results)

    def __repr__(self) -> str:
        """One line: the models, verdicts counted, and what failed."""
        models = ", ".join(model.alias for model in self.report.models)
        failed = f"; failed: {_names(self.failed)}" if self.failed else ""
        return inert_line(f"<Run of {models}: {wording.conclusion(self.report.models).text}{failed}>", 1_500)

    def save(self, path: str | Path) -> None:
        """Write the report to a file as JSON.

        Raises
        ------
        UsageError
            The name of the file ends in something else than ``.json``.
        EmbcheckError
            It can't be written.
        """
        json_file.save(self.report, path)

    def save_html(self, path: str | Path) -> None:
        """Write the report to a file as one HTML page.

        Raises
        ------
        UsageError
            The extra ``html`` is not installed, or the path is none for a file.
        EmbcheckError
            It can't be written.
        """
        html.write(self.report, path)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return str(by_reports("html.notebook.run", self))


def _is_called(result: Result, check: object) -> bool:
    return check in (result.check.declaration.id, result.check.label)


def _about(result: Result) -> Json:
    """What tells a result from the others of its property: its model, and its parameters as a report has them."""
    return {"model": result.model, **result.check.record}


def _names(results: Sequence[Result], *, verdicts: bool = False) -> str:
    """The first few by label and model."""
    names = [
        f"{result.check.label} of {result.model}" + (f" ({wording.verdict_word(result)})" if verdicts else "")
        for result in results
    ]
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


@dataclass(slots=True)
class ModelRun:
    """What is known of a model so far. Results and entries are by their check's key."""

    record: ModelRecord
    """Its place in the report, without results."""
    results: dict[str, Result] = field(default_factory=dict)
    entries: dict[str, tuple[Entry, State]] = field(default_factory=dict)
    timing: Json = field(default_factory=dict)
    device: str | None = None
    error: EmbcheckError | None = None
    notes: tuple[str, ...] = ()

    def settled(self, family_wise: GateMode | None) -> ModelRecord:
        """Its place in the report; notes what each result took."""
        if self.error is None:
            seconds = {result.check.label: result.seconds for result in self.results.values()}
            self.timing = self.timing | {"results": seconds}
        records = [result.record for result in self.results.values()]
        return structs.replace(self.record, results=settled(records, family_wise))

    def adjusted(self, record: ModelRecord) -> Iterator[Result]:
        """The results with what the whole family adds to them, as the report has it."""
        adjusted = {result.key: result for result in record.results}
        for result in self.results.values():
            own = adjusted[result.check.key]
            about = {name: getattr(own, name) for name in ("nulls", "change", "claims", "verdict")}
            yield replace(result, model=self.record.alias, shape=self.record.shape, undecided=own.reason, **about)


def run_of(
    runs: Sequence[ModelRun],
    settings: Settings,
    *,
    device: str | None = None,
    family_wise: GateMode | None = None,
    partial: bool = False,
) -> Run:
    """The run of some models, all of whose results are known or, where it is ``partial``, those that it got to."""
    records = [run.settled(family_wise) for run in runs]
    written = report(
        records,
        settings=settings,
        device=device or next((run.device for run in runs if run.device), "none"),
        timing={run.record.alias: run.timing for run in runs},
        partial=partial,
    )
    return Run(
        written,
        tuple(result for run, record in zip(runs, records, strict=True) for result in run.adjusted(record)),
        tuple(str(run.error) for run in runs if run.error is not None),
        tuple(f"{run.record.alias}: {note}" for run in runs for note in run.notes),
        {run.record.alias: tuple(run.entries.values()) for run in runs},
    )
