"""The options, once: the command line and the pytest plugin are both built from this table.

Names are those of the command line (``--seed``) and of ``[tool.embcheck]``; pytest puts ``--embcheck-`` in front, and
environment variables are ``EMBCHECK_SEED`` and so on. Nothing here imports torch, numpy or click.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "integer", "number", "flag", "path", "probes", "device", "updates"]
UPDATES = ("new", "changed", "prune")


@dataclass(frozen=True, slots=True)
class Option:
    """One option. Values are checked in `config`, so that every way of giving one has the same rules."""

    name: str
    kind: Kind
    default: object
    help: str
    choices: tuple[str, ...] = ()
    multiple: bool = False
    metavar: str | None = None

    @property
    def key(self) -> str:
        """Its key in ``[tool.embcheck]``: ``models`` for the models, since ``model`` holds a table for each."""
        return "models" if self.name == "model" else self.flag

    @property
    def flag(self) -> str:
        """Its name on the command line, behind the dashes."""
        return self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"EMBCHECK_{self.name.upper()}"


OPTIONS = (
    Option(
        "model",
        "text",
        (),
        "Model to check: a path, org/name on the hub, gguf:FILE, npy:FILE,vocab=FILE, random:VxD, demo or demo:lm; "
        "a leading alias= names it.",
        multiple=True,
        metavar="SPEC",
    ),
    Option(
        "property",
        "text",
        (),
        "Run only the checks whose id, or id[parameters], matches; with a leading ! all but those (repeatable).",
        multiple=True,
        metavar="GLOB",
    ),
    Option(
        "properties",
        "path",
        (),
        "More property files or folders (repeatable); ./properties is found by itself.",
        multiple=True,
        metavar="PATH",
    ),
    Option("device", "device", "auto", "Where to compute: auto, cpu, cuda, cuda:N or mps.", metavar="DEVICE"),
    Option(
        "dtype",
        "text",
        None,
        "Convert the vectors to this type; by default they keep the one they are stored in.",
        choices=("float32", "float16", "bfloat16"),
    ),
    Option("seed", "integer", 0, "Seed of every random choice.", metavar="N"),
    Option("confidence", "number", 0.95, "Confidence level of the intervals.", metavar="LEVEL"),
    Option(
        "probes",
        "probes",
        None,
        "Number of probe tokens, or all, or auto: as many as claims take to be decided, 200 to 4,000; "
        "by default all of up to 32,000 rows, else 1,000.",
        metavar="N|all|auto",
    ),
    Option(
        "population",
        "text",
        "known",
        "Rows that claims are about: known leaves out padding, special, unused and unreachable ones.",
        choices=("known", "all"),
    ),
    Option(
        "matrix",
        "text",
        "input",
        "Which matrix of a model: its input embeddings, or the output matrix (unembedding).",
        choices=("input", "output"),
    ),
    Option("tensor", "text", None, "Name of the tensor to read, where names and shapes don't tell.", metavar="NAME"),
    Option(
        "executor",
        "text",
        None,
        "Where rows of a parquet: or npy: store are read and measured, part by part: process, thread, "
        "dask://HOST:PORT, ray or ray://HOST:PORT; by default here, in one piece.",
        metavar="EXECUTOR",
    ),
    Option(
        "states",
        "path",
        None,
        "With an executor, keep what each part gives in this folder: a store that grew is measured on its new parts.",
        metavar="PATH",
    ),
    Option("workers", "integer", None, "How many parts are worked on at once.", metavar="N"),
    Option(
        "control",
        "flag",
        default=False,
        help="Also run each check on 20 random tables; one that holds there is vacuous, and fails.",
    ),
    Option(
        "explain",
        "flag",
        default=False,
        help="Also say what each claim that holds rests on: noise, the mean, the covariance, or more than these.",
    ),
    Option(
        "family_wise",
        "flag",
        default=False,
        help="Judge the permutation tests of a model as one family: by Holm's adjusted p-values.",
    ),
    Option(
        "gate",
        "text",
        None,
        "What decides: claims, regressions against the baseline, or both; by default both where there are baselines.",
        choices=("claims", "regressions", "both"),
    ),
    Option(
        "baseline_dir",
        "path",
        None,
        "Folder of the baselines; by default embcheck-baselines beside pyproject.toml.",
        metavar="PATH",
    ),
    Option(
        "missing_baseline",
        "text",
        None,
        "What a check that the baseline lacks does, and an entry that no check uses; by default they fail in CI and "
        "warn elsewhere.",
        choices=("fail", "warn", "ignore"),
    ),
    Option(
        "update",
        "updates",
        (),
        "Write to the baselines what is new or changed, or prune what no check uses; a failed claim still fails.",
        metavar="new,changed,prune",
    ),
    Option("summary", "path", None, "Write a summary to this file as Markdown; - for standard output.", metavar="PATH"),
    Option("json", "path", None, "Write the report to this file as JSON; - for standard output.", metavar="PATH"),
    Option(
        "html",
        "path",
        None,
        "Write the report to this file as one HTML page with pictures; - for standard output.",
        metavar="PATH",
    ),
    Option(
        "show",
        "text",
        "rows",
        "What to show: fail what needs looking at, rows every result too, all every detail, none only counts.",
        choices=("fail", "rows", "all", "none"),
    ),
)


def option(name: str) -> Option:
    """The option of that name."""
    return {known.name: known for known in OPTIONS}[name]
