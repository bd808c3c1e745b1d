"""Which cause is named for which damage: a table of counts, by hand with ``python -m tests.diagnosis.confusion``."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from embcheck.diagnosis.search import search
from embcheck.table import EmbeddingTable
from tests.diagnosis.damage import CAUSES, COMPOSED, UNKNOWN, Damaged, Matrix

ROWS = 8_000


def table_of(vectors: Matrix, tokens: Sequence[str]) -> EmbeddingTable:
    """A table; rows past the tokens have new ones."""
    more = [f"<new {row}>" for row in range(len(tokens), len(vectors))]
    return EmbeddingTable.from_arrays(vectors, [*tokens[: len(vectors)], *more])


def names_of(reference: EmbeddingTable, damaged: Damaged) -> tuple[list[str], Mapping[str, object], str]:
    """The causes named, their parameters together, and what else was said."""
    words = list(reference.tokens)
    tokens = words if damaged.tokens is None else [words[row] for row in damaged.tokens]
    candidate = table_of(damaged.vectors, tokens)
    if damaged.dtype is not None:
        import torch

        candidate = table_of(torch.from_numpy(damaged.vectors).to(damaged.dtype), tokens)
    parents = [table_of(parent, words) for parent in damaged.parents or ()]
    account = search(reference, candidate, parents)
    parameters = {name: value for e in account.explanations for name, value in e.parameters.items()}
    causes = ["none of these"] if account.abstained else [e.cause for e in account.explanations]
    return causes, parameters, account.abstained or " | ".join(e.sentence for e in account.explanations)


def right(wanted: Mapping[str, object], got: Mapping[str, object]) -> bool:
    """Whether every parameter is what was done."""
    for name, value in wanted.items():
        have = got.get(name)
        if isinstance(value, tuple):
            if not isinstance(have, int | float) or not value[0] <= have <= value[1]:
                return False
        elif isinstance(value, str):
            if have != value:
                return False
        elif not isinstance(have, int | float) or abs(have - value) > 0.02 * abs(value) + 1e-9:
            return False
    return True


def tables(names: Sequence[str]) -> dict[str, tuple[Matrix, list[str]]]:
    """The first rows of each spec's table, or of a random one."""
    import embcheck

    made = {}
    for spec in names:
        if spec == "random":
            vectors = np.random.default_rng(0).standard_normal((ROWS, 128)).astype(np.float32)
            made[spec] = vectors, [f"word{row}" for row in range(ROWS)]
            continue
        table = embcheck.load(spec)
        rows = table.ordinary[:ROWS]
        made[spec] = table.gather(rows).numpy().copy(), [table.token(int(row)) for row in rows]
    return made


def main(specs: Sequence[str], seeds: int = int(__import__("os").environ.get("SEEDS", "5"))) -> None:
    only = [spec.removeprefix("+") for spec in specs if spec.startswith("+")]
    specs = [spec for spec in specs if not spec.startswith("+")]
    total, good = Counter[str](), Counter[str]()
    for spec, (vectors, words) in tables(specs or ["demo", "random"]).items():
        reference = table_of(vectors, words)
        for name, damage in {**CAUSES, **UNKNOWN}.items():
            if only and name not in only:
                continue
            counts, took, wrong = Counter[str](), 0.0, []
            for strength in range(3):
                for seed in range(seeds):
                    damaged = damage(vectors, strength, np.random.default_rng([seed, strength, len(name)]))
                    if damaged is None:
                        continue
                    start = time.perf_counter()
                    causes, parameters, said = names_of(reference, damaged)
                    took += time.perf_counter() - start
                    wanted = ["none of these"] if name in UNKNOWN else [name.strip()]
                    ok = causes == wanted and right(damaged.parameters, parameters)
                    counts["right" if ok else "+".join(causes)] += 1
                    total[name] += 1
                    good[name] += ok
                    if not ok:
                        wrong.append(
                            f"     {strength} {seed} {dict(damaged.parameters)} {causes} {dict(parameters)}"[:230]
                            + f"\n       {said[:200]}"
                        )
            print(f"{spec[:20]:20} {name:22} {took / max(1, sum(counts.values())):5.2f}s {dict(counts)}", flush=True)
            print("\n".join(wrong[:4]), end="\n" if wrong else "", flush=True)
        for second, first in COMPOSED if not only else ():
            counts = Counter()
            for seed in range(seeds):
                rng = np.random.default_rng([seed, 99])
                strength = int(rng.integers(3))
                one = CAUSES[first](vectors, strength, rng)
                if one is None or (two := CAUSES[second](one.vectors, int(rng.integers(3)), rng)) is None:
                    continue
                causes, _, said = names_of(reference, replace(two, tokens=one.tokens))
                counts["right" if sorted(causes) == sorted((first, second)) else "+".join(causes)] += 1
                total["composed"] += 1
                good["composed"] += sorted(causes) == sorted((first, second))
                if sorted(causes) != sorted((first, second)):
                    print("      ", seed, causes, said[:200])
            print(f"{spec[:20]:20} {first} then {second} {dict(counts)}", flush=True)
    print({name: f"{good[name]}/{total[name]}" for name in total}, sum(good.values()), sum(total.values()))


if __name__ == "__main__":
    main(sys.argv[1:])
