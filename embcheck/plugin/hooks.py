"""The plugin's hooks, registered by `embcheck.plugin` in runs that ask for them.

`embcheck.plugin.items` says which check an item stands for, `embcheck.plugin.item_run` runs it, and
`embcheck.plugin.results` gathers the results where the session is controlled. Importing them imports neither torch
nor numpy: those come with the first table.
"""

from __future__ import annotations

import glob
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embcheck import settings, sources
from embcheck.config.config import Config, resolve, unconfigured
from embcheck.config.models import meant, needed
from embcheck.config.options import OPTIONS
from embcheck.errors import EmbcheckError, UsageError
from embcheck.extensions import installed
from embcheck.plugin.item_run import attach, make_inert, models_by_spec, no_model, printable, run_item
from embcheck.plugin.items import (
    TABLE_FIXTURE,
    check_of,
    check_settings,
    chosen,
    declaration_of,
    distinct,
    excuse,
    grouped,
    is_selected,
    is_whole,
    lacks_its_pair,
    over_models,
    parametrize,
    runs_on_its_model,
    spec_of,
    specs_of,
    wrapped_by_hypothesis,
)
from embcheck.plugin.results import LEFT_OUT, PROBLEM, Results
from embcheck.reports import outputs
from embcheck.run.session import Policy, Session, left_out, model_of, prepare

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

_SHIPPED = "embcheck.properties"


@dataclass(slots=True)
class State:
    """What a session knows; one for each process."""

    config: Config
    misconfigured: EmbcheckError | None = None
    """What is wrong with the configuration: wrong usage only for a run that collects a property."""
    problem: EmbcheckError | None = None
    """Wrong usage found while collecting, where pytest would make it an error of one file."""
    left_out: list[str] = field(default_factory=list)
    """Which of the project's own properties the models' lists leave out."""
    opened: Session | None = None

    @property
    def session(self) -> Session:
        """The engine, with the models that specs stand for: made when an item first needs them."""
        if self.opened is None:
            specs: tuple[ModelSpec, ...] = ()
            try:
                specs = needed(self.config)
            except EmbcheckError as error:
                self.misconfigured = error
            models = [model_of(self.config, spec) for spec in specs]
            policy = Policy.of(self.config)
            asked = {"control": self.config.control, "explain": self.config.explain}
            self.opened = Session(models, self.config.settings, policy, **asked, isolates=False)
        return self.opened

    @property
    def specs(self) -> list[ModelSpec]:
        """Those of the models."""
        return [model.spec for model in self.session.models]


_STATE = pytest.StashKey[State]()


# --- options and configuration --------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Resolve the options: those of the command line must be right, those of files and environment where they count."""
    given = {option.name: config.getoption(f"embcheck_{option.name}") for option in OPTIONS}
    try:
        state = State(_resolved(given, config.rootpath))
    except EmbcheckError as error:
        if any(value is not None for value in given.values()):
            raise pytest.UsageError(str(error)) from None
        state = State(unconfigured(config.rootpath), misconfigured=error)
    if state.config.models:
        settings.prepare_process()
    config.stash[_STATE] = state
    _widen_collection(config, state.config)
    if not _is_worker(config):
        config.pluginmanager.register(Results(config, state), "embcheck-results")


def _resolved(given: Mapping[str, object], root: Path) -> Config:
    config = resolve(given, root=root)
    for spec in config.models if given["model"] else ():
        sources.check(meant(config, spec))  # configured ones are checked once something needs them: plain tests do not
    for path in config.properties:
        if not path.exists():
            raise UsageError(f"properties {str(path)!r}: no such file or folder")
    outputs.check(json=config.json, summary=config.summary, page=config.html)
    return config


def _widen_collection(config: pytest.Config, resolved: Config) -> None:
    """Let property files be collected: the shipped ones, those named by option, ``./properties`` where it is ours.

    Patterns are absolute: a relative ``properties/*.py`` would match all of a project that lies below a folder of
    that name.
    """
    folders = [Path(__file__).parents[1] / "properties"]
    if resolved.configured or resolved.models:
        folders.append(config.rootpath / "properties")
    for path in resolved.properties:
        folders += {path.absolute(), path.resolve()}  # pytest does not resolve symbolic links
    if config.option.pyargs and _SHIPPED in config.args:
        # Where embcheck runs from a checkout, the package's files lie outside its folder, which pytest does not see.
        shipped = [path for path in _shipped_folders() if path != folders[0]]
        at = config.args.index(_SHIPPED)
        config.args[at : at + 1] = [str(folders[0]), *map(str, shipped)]
        folders += shipped
    if config.option.pyargs:
        folders += [place for pack in installed("properties").values() for place in pack.places()]
    config.args[:] = [_as_printed(argument) for argument in config.args]
    for folder in folders:
        pattern = glob.escape(str(folder))
        config.addinivalue_line("python_files", pattern if folder.suffix == ".py" else f"{pattern}/*.py")
    for name in config.getoption("embcheck_properties") or ():
        if name not in config.args:  # named on the command line, as any other path there
            config.args.append(name)


def _as_printed(argument: str) -> str:
    """The shipped property that pytest calls ``isotropy.py::isotropy[demo]``, with the path of its file."""
    name, separator, rest = argument.partition("::")
    path = Path(name)
    if not separator or path.is_file():
        return argument
    files = (folder / path.name for folder in _shipped_folders() if (folder / path.name).is_file())
    return next((f"{file}::{rest}" for file in files), argument)


def _shipped_folders() -> list[Path]:
    return [Path(folder) for folder in importlib.import_module(_SHIPPED).__path__]


def _is_worker(config: pytest.Config) -> bool:
    """Whether this process runs tests for an xdist controller."""
    return hasattr(config, "workerinput")


# --- collection -----------------------------------------------------------------------------------------------------


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the tests that need hypothesis where it is not installed."""
    needs_it = collection_path.name == "_universal.py" and collection_path.parent in _shipped_folders()
    return True if needs_it and importlib.util.find_spec("hypothesis") is None else None


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> Generator[None, pytest.Module | None, pytest.Module | None]:
    """Keep the file in the node ids of one outside of the project that is named alone: pytest has none for it."""
    module = yield
    if module is None or module.nodeid:
        return module
    return type(module).from_parent(parent, path=module_path, nodeid=module_path.name)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> None:
    """Take note of a property that hypothesis wraps: below ``@given`` it would be passed over in silence."""
    declaration = wrapped_by_hypothesis(obj)
    if declaration is not None:
        state = collector.config.stash[_STATE]
        state.problem = state.problem or UsageError(
            f"property {declaration.id} ({collector.nodeid}::{name}): @given does not work with @claim; "
            f"write a plain test that takes the fixture {TABLE_FIXTURE} and @given(data=st.data())"
        )


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one item for each model and parameter; first of all, so that an item's name begins with the model."""
    state = metafunc.config.stash[_STATE]
    declaration = declaration_of(metafunc.function)
    if declaration is not None and state.problem is None and state.misconfigured is None:
        parametrize(metafunc, declaration, state.specs)
    elif TABLE_FIXTURE in metafunc.fixturenames:
        over_models(metafunc, TABLE_FIXTURE, state.specs, indirect=True)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a declared property, excuse a known exception, and keep a model's checks on one worker where xdist can."""
    spec = spec_of(item)
    if spec is not None and item.config.pluginmanager.has_plugin("xdist"):
        item.add_marker(pytest.mark.xdist_group(f"embcheck-{spec.alias}"))  # which --dist loadgroup heeds
    if isinstance(item, pytest.Function) and declaration_of(item) is not None:
        item.add_marker(pytest.mark.embcheck)
        excuse(item, item.config.stash[_STATE].config)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """Leave out what the globs do not select, stop where something is wrong, and in the end group by model."""
    _select(config, items)
    yield
    state = config.stash[_STATE]
    if state.opened is not None:
        items[:] = grouped(items, state.specs)


def _select(config: pytest.Config, items: list[pytest.Item]) -> None:
    try:
        kept = _kept(config, items)
    except EmbcheckError as error:
        if not _is_worker(config):
            raise pytest.UsageError(str(error)) from None
        config.workeroutput[PROBLEM] = str(error)  # type: ignore[attr-defined]
        items.clear()
        return
    if _is_worker(config):
        config.workeroutput[LEFT_OUT] = config.stash[_STATE].left_out  # type: ignore[attr-defined]
    staying = set(kept)
    if left := [item for item in items if item not in staying]:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def _kept(config: pytest.Config, items: list[pytest.Item]) -> list[pytest.Item]:
    """The items that are to run."""
    state = config.stash[_STATE]
    uses_us = any(declaration_of(item) or TABLE_FIXTURE in getattr(item, "fixturenames", ()) for item in items)
    problem = state.problem or (state.misconfigured if uses_us else None)
    if problem is not None:
        raise problem
    asked = bool(config.getoption("embcheck_property"))
    if not uses_us:
        return chosen(items, state.config, asked=asked)
    collected = distinct(items)
    check_settings(collected, state.config, whole=is_whole(config))
    about = [item for item in collected if runs_on_its_model(item, state.session.policy)]
    matching = [check_of(item) for item in collected if is_selected(item, state.config.property)]
    state.left_out = left_out(state.config, state.specs, matching)
    try:
        selected = chosen(about, state.config, asked=asked)
    except UsageError as error:
        said = left_out(state.config, state.specs, matching, shipped=True)
        raise (UsageError("; ".join(said)) if said else error) from None
    kept = [item for item in selected if not lacks_its_pair(item, len(state.specs))]
    used = {spec for item in kept for spec in specs_of(item)}
    prepare(state.config, [spec for spec in state.specs if spec in used])
    device = state.config.device
    if device not in {"auto", "cpu"} and not config.option.collectonly and any(map(declaration_of, kept)):
        sources.resolve_device(device)  # imports torch, which the properties are about to do
    return kept


# --- running --------------------------------------------------------------------------------------------------------


def provided(request: pytest.FixtureRequest) -> Iterator[EmbeddingTable]:
    """The table of the fixture ``embcheck_table``: that of each model in turn."""
    from embcheck import strategies

    if request.param is None:
        no_model()
    state = request.config.stash[_STATE]
    problem = None
    try:
        table = state.session.loaded(models_by_spec(state.session)[request.param])[0].table
    except EmbcheckError as error:
        problem = str(error)
    if problem is not None:
        pytest.fail(printable(problem), pytrace=False)
    with settings.using(state.config.settings), strategies.using(table):
        yield table


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a declared property instead of calling its function."""
    if declaration_of(pyfuncitem) is None:
        return None
    __tracebackhide__ = True
    state = pyfuncitem.config.stash[_STATE]
    run_item(pyfuncitem, state.session, state.config)
    return True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put a check's result on its report, once all others have had their say in it."""
    report = yield
    state = item.config.stash[_STATE]
    if declaration_of(item) is not None:
        attach(item, report, state.session, state.config)
    if specs_of(item):
        make_inert(report)
    return report
