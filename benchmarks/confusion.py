"""Which cause is named for which damage: ``python -m benchmarks.confusion SPEC... [--seeds N]`` prints the table.

Damage is done by `benchmarks.damage`, which knows nothing of how causes are recognised. A case is right where the
causes named are the ones that were done, and every parameter is (numbers to one part in fifty).
"""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

import embcheck
from benchmarks.damage import CAUSES, COMPOSED, UNKNOWN, Damaged, Matrix
from embcheck import EmbeddingTable
from embcheck.diagnosis.diagnose import of_tables
from embcheck.reports.diagnosis import ABSTAINED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROWS, STRENGTHS, PART = 5_000, 3, 1 / 50


@dataclass(frozen=True)
class Case:
    """A damage, and what was said of it."""

    damage: str
    wanted: tuple[str, ...]
    named: tuple[str, ...]
    is_right: bool
    seconds: float
    said: str


def table_of(vectors: Matrix, tokens: Sequence[str], dtype: torch.dtype = torch.float32) -> EmbeddingTable:
    """A table; rows past the tokens have new ones."""
    more = [f"<new {row}>" for row in range(len(tokens), len(vectors))]
    return EmbeddingTable.from_arrays(torch.from_numpy(vectors).to(dtype), [*tokens[: len(vectors)], *more])


def diagnosed(reference: EmbeddingTable, name: str, damaged: Damaged, wanted: Sequence[str]) -> Case:
    """One case."""
    words = list(reference.tokens)
    tokens = words if damaged.tokens is None else [words[row] for row in damaged.tokens]
    candidate = table_of(damaged.vectors, tokens, damaged.dtype)
    start = time.perf_counter()
    diagnosis = of_tables(reference, candidate, [table_of(parent, words) for parent in damaged.parents or ()])
    took = time.perf_counter() - start
    named = (ABSTAINED,) if diagnosis.abstained else tuple(cause.cause for cause in diagnosis.causes)
    parameters = {key: value for cause in diagnosis.causes for key, value in cause.parameters.items()}
    is_right = sorted(named) == sorted(wanted) and _agree(damaged.parameters, parameters)
    said = diagnosis.abstained or " | ".join(f"{c.sentence} {dict(c.parameters)}" for c in diagnosis.causes)
    return Case(name, tuple(wanted), named, is_right, took, said)


def _agree(wanted: Mapping[str, object], got: Mapping[str, object]) -> bool:
    def agrees(value: object, have: object) -> bool:
        if isinstance(value, str) or isinstance(have, str) or have is None:
            return value == have
        low, high = value if isinstance(value, tuple) else (value, value)
        slack = 0 if isinstance(value, tuple) else PART * abs(float(low)) + 1e-9
        return bool(low - slack <= have <= high + slack)

    return all(agrees(value, got.get(name)) for name, value in wanted.items())


def cases(vectors: Matrix, words: Sequence[str], seeds: int, names: Sequence[str] = ()) -> Iterator[Case]:
    """Every damage at every strength, then what is in no list, then two after each other."""
    reference = table_of(vectors, words)
    for name, damage in {**CAUSES, **UNKNOWN}.items():
        for strength, seed in np.ndindex(STRENGTHS, seeds) if not names or name in names else ():
            rng = np.random.default_rng([seed, strength, zlib.crc32(name.encode())])
            if (damaged := damage(vectors, strength, rng)) is not None:
                yield diagnosed(reference, name, damaged, [ABSTAINED if name in UNKNOWN else name.split(":")[0]])
    for second, first in COMPOSED if not names or "composed" in names else ():
        for seed in range(seeds):
            rng = np.random.default_rng([seed, zlib.crc32(first.encode())])
            one = CAUSES[first](vectors, int(rng.integers(STRENGTHS)), rng)
            two = None if one is None else CAUSES[second](one.vectors, int(rng.integers(STRENGTHS)), rng)
            if one is not None and two is not None:
                both = replace(two, tokens=one.tokens, parameters={})
                yield diagnosed(reference, f"{first}, then {second}", both, [first, second])


def vectors_of(spec: str) -> tuple[Matrix, list[str]]:
    """The first rows of a spec, whatever they are the rows of; ``random`` is 5,000 x 128 independent numbers."""
    if spec == "random":
        vectors = np.random.default_rng(0).standard_normal((ROWS, 128)).astype(np.float32)
        return vectors, [f"word{row}" for row in range(ROWS)]
    table = embcheck.load(spec)
    rows = np.arange(min(ROWS, len(table.vectors)))
    return table.gather(rows).numpy().copy(), [table.token(int(row)) for row in rows]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print how often each damage was named rightly, by table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.confusion", description=__doc__)
    parser.add_argument("specs", nargs="+")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", action="append", default=[], help="one damage, or composed")
    given = parser.parse_args(arguments)
    right: dict[str, list[str]] = {}
    both = Counter[bool]()
    for spec in given.specs:
        vectors, words = vectors_of(spec)
        done: dict[str, list[Case]] = {}
        for case in cases(vectors, words, given.seeds, given.only):
            done.setdefault(case.damage, []).append(case)
            both[case.is_right] += 1
            if not case.is_right:
                print(f"{spec[-24:]}: {case.damage}: {'+'.join(case.named)}: {case.said[:300]}", file=sys.stderr)
        for name, some in done.items():
            shares = right.setdefault(name, ["-"] * len(given.specs))
            shares[given.specs.index(spec)] = f"{sum(c.is_right for c in some)} of {len(some)}"
        seconds = [case.seconds for some in done.values() for case in some]
        print(f"{spec[-24:]}: {len(seconds)} cases, {np.mean(seconds):.2f} s each", file=sys.stderr, flush=True)
    print("| damage |" + "".join(f" {spec[-24:]} |" for spec in given.specs))
    print("| --- |" + " --- |" * len(given.specs))
    for name, shares in right.items():
        print(f"| {name} |" + "".join(f" {share} |" for share in shares))
    print(f"\n{both[True]} of {sum(both.values())} right")


if __name__ == "__main__":
    main()
