"""The ladder: the simplest structure of a table that is enough for a claim to hold, rung by rung.

A claim that holds is measured again on tables that keep more and more of the real one (`embcheck.nulls.rungs`). A rung
suffices where the claims' bounds hold there too, and the value is that of the real table but for a third of what sets
it apart from noise or from the nearest bound, or for what sampling can't tell apart. The lowest such rung is the
answer; where there is none, the claim rests on more than all of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from embcheck.checks.record import Ladder, Rung
from embcheck.claims import Verdict, beats, ends
from embcheck.errors import NotMeasurable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from embcheck.checks.check import Check, Result
    from embcheck.estimate import Estimate
    from embcheck.nulls.rungs import Surrogates
    from embcheck.settings import Settings
    from embcheck.stats import Ints
    from embcheck.table import EmbeddingTable

__all__ = ["climb"]

DRAWS, PROBES = 3, 500
ENTRIES, LEAST, MOST = 2_000_000, 2_000, 8_000  # of a sampled table: numbers in all, and rows
NUMBERS = 1_000  # from 0 on, whose tokens are measured too
KEPT = 2 * MOST  # rows of a table of which the draws of all rungs stay in memory
OF_SCRIPT = 100  # tokens of each writing system
PAIRS = 40  # of a relation: the cost of analogies goes with the cube
CLOSE = 1 / 3  # of the distance from noise, or from a bound


def climb(result: Result, table: EmbeddingTable, settings: Settings) -> Result:
    """The result with its ladder; as it is where the claim doesn't hold, is about two models, or has no rungs."""
    declaration = result.check.declaration
    if result.verdict is not Verdict.HOLDS or declaration.of_pairs or declaration.ladder == ():
        return result
    quick = replace(settings, draws=1, details=False, probes=PROBES)
    check = replace(result.check, params={k: _thinned(v, table) for k, v in result.check.params.items()})
    for surrogates, rows in _samples(check, table):
        try:
            ladder = _Climb(check, surrogates, rows, quick).ladder(declaration.ladder)
        except NotMeasurable:  # it asks for rows that the sample lacks, or for more of them
            continue
        return replace(result, ladder=ladder)
    return result


def _thinned(value: Any, table: EmbeddingTable) -> Any:
    """A relation of at most so many pairs, of those that the model has, evenly from the list; else what was given."""
    from embcheck.lexicons import Relation, relation

    if not isinstance(value, Relation):
        return value
    rows = table.rows(value.words)
    known = [pair for pair, a, b in zip(value.pairs, rows[::2], rows[1::2], strict=True) if None not in (a, b)]
    kept = [known[i * len(known) // PAIRS] for i in range(PAIRS)] if len(known) > PAIRS else list(value.pairs)
    return value if len(kept) == len(value.pairs) else relation(value.name, kept, sentence=value.sentence)


def _samples(check: Check, table: EmbeddingTable) -> Iterable[tuple[Surrogates, Ints | None]]:
    """Rows to measure on: some drawn and all that the check names; then with all that any names; then all."""
    import numpy as np

    from embcheck import lexicons
    from embcheck.nulls.rungs import Surrogates
    from embcheck.table.spelling import variants
    from embcheck.table.vocabulary import TokenKind

    limit = min(MOST, max(LEAST, ENTRIES // table.width))
    if len(table.population) > limit:
        own = tuple(dict.fromkeys(w for value in check.params.values() for w in getattr(value, "words", ())))
        others = tuple(word for word in own if word not in set(lexicons.words()))
        variant = check.params.get("variant")
        key = ("surrogates", others, variant)
        spelt = [] if variant is None else [variants(table, variant).reshape(-1)]
        kinds = (TokenKind.ASCII_CHARACTER, TokenKind.BYTE, TokenKind.CONTROL)
        drawn, classes = table.probes(limit), [table.of_kind(kind) for kind in kinds]
        if key not in table.memo:
            named = _rows(table, (*lexicons.words(), *others, *map(str, range(NUMBERS))))
            written = [table.probes(OF_SCRIPT, among=own) for own in table.scripts.values()]
            rows = np.unique(np.concatenate([drawn, *classes, *spelt, named, *written]))
            table.memo[key] = Surrogates(table, rows)
        surrogates: Surrogates = table.memo[key]
        kept = [drawn, _rows(table, own), *spelt, *(classes if "token_class" in check.params else [])]
        yield surrogates, np.searchsorted(surrogates.rows, np.unique(np.concatenate(kept)))
        yield surrogates, None
    if "all surrogates" not in table.memo:
        table.memo["all surrogates"] = Surrogates(table, table.population)
    yield table.memo["all surrogates"], None


def _rows(table: EmbeddingTable, words: Sequence[str]) -> Ints:
    import numpy as np

    return np.array([row for row in table.rows(words) if row is not None], dtype=np.int64)


class _Climb:
    """One check on the surrogates of some rows."""

    def __init__(self, check: Check, surrogates: Surrogates, rows: Ints | None, settings: Settings) -> None:
        self.check, self.surrogates, self.rows, self.settings = check, surrogates, rows, settings

    def ladder(self, declared: Sequence[str] | None) -> Ladder:
        """Every rung that makes sense, from noise up."""
        import numpy as np

        from embcheck.nulls.rungs import OF_TOKENS, RUNGS

        real = self._measure(self.surrogates.base)
        if real is None:
            raise NotMeasurable("the rows that were drawn are too few")
        names = [name for name in RUNGS if declared is None or name in declared]
        if declared is None and self._is_blind(real):
            names = [name for name in names if name not in OF_TOKENS]
        at, slack = real.snapshot(), _half(real)
        bounds = [bound for bound in self.check.declaration.claims if not isinstance(bound, beats)]
        stated = ends(bound.outcome(real, Verdict.HOLDS) for bound in bounds)
        distances = [abs(real.value - end) for end in stated if at.value == real.value]
        rungs: list[Rung] = []
        for name in names:
            estimates = [e for k in range(DRAWS) if (e := self._measure(self._drawn(name, k))) is not None]
            if not estimates:
                continue
            values = [estimate.snapshot().value for estimate in estimates]
            value, low, high = float(np.mean(values)), float(min(values)), float(max(values))
            noise = rungs[0].value if rungs else value
            tolerance = max(CLOSE * max(abs(at.value - noise), min(distances, default=0)), slack, (high - low) / 2)
            middle = sorted(estimates, key=lambda estimate: estimate.value)[len(estimates) // 2]
            holds = all(bound.verdict(_point(middle)) is Verdict.HOLDS for bound in bounds)
            rungs.append(Rung(name, value, low, high, suffices=holds and abs(value - at.value) <= tolerance))
        lowest = next((rung.name for rung in rungs if rung.suffices), None)
        rows = len(self.surrogates.rows if self.rows is None else self.rows)
        return Ladder(lowest, float(at.value), at.scale, rows, DRAWS, tuple(rungs), float(at.low), float(at.high))

    def _is_blind(self, real: Estimate) -> bool:
        """Whether the property looks at no token: rows dealt out anew among all of them leave its value."""
        import numpy as np

        if any(getattr(value, "words", ()) for value in self.check.params.values()):
            return False
        rng = np.random.default_rng([self.settings.seed, 0])
        other = self._measure(self.surrogates.shuffled(self.rows, rng))
        if other is None:
            return False
        apart = abs(other.snapshot().value - real.snapshot().value)
        return bool(apart <= max(1.5 * (_half(real) + _half(other)), 1e-3 * abs(real.snapshot().value)))

    def _drawn(self, rung: str, draw: int) -> EmbeddingTable:
        """One table of a rung, the same for all checks on these rows; of more than a sample none is kept."""
        import numpy as np

        memo = self.surrogates.base.memo if len(self.surrogates.rows) <= KEPT else {}
        key = ("rung", self.settings.seed, rung, draw)
        if key not in memo:
            memo[key] = self.surrogates.draw(rung, np.random.default_rng([self.settings.seed, draw, *rung.encode()]))
        table: EmbeddingTable = memo[key]
        return table

    def _measure(self, table: EmbeddingTable) -> Estimate | None:
        from embcheck.checks.evaluate import evaluate

        return evaluate(self.check, self._narrowed(table), self.settings).estimate

    def _narrowed(self, table: EmbeddingTable) -> EmbeddingTable:
        """The rows measured on, the same table for all checks that measure on them: they share a spectrum, say."""
        if self.rows is None:
            return table
        key = ("rows", self.rows.tobytes())
        if key not in table.memo:
            table.memo[key] = table.among(self.rows)
        narrowed: EmbeddingTable = table.memo[key]
        return narrowed


def _half(estimate: Estimate) -> float:
    snapshot = estimate.snapshot()
    return float(snapshot.high - snapshot.low) / 2


def _point(estimate: Estimate) -> Estimate:
    """The estimate as a number without an interval."""
    return replace(estimate, low=estimate.value, high=estimate.value)
