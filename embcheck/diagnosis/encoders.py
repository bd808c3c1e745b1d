"""What a served or exported encoder does otherwise than the model it should be, told from vectors of the same texts.

Every way to make vectors that is known here is rebuilt from the reference and held against the candidate's. Cheap ones
come first: from one run of the reference follow all poolings, normalised or not, cut, in another order, at any
precision. Only where none of these explains the vectors are texts run otherwise (prefix, case, special tokens,
truncation, padding), and only where none of those does, two at once. What is left over is ``|c - v| / |v|``, root mean
square over rows that nothing was fitted to. An explanation stands where that is no more than noise (the reference in
other batches) and the candidate's own precision leave, where no shorter one stands, and where all others of at most as
many causes leave `MARGIN` times as much.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import numpy as np

from embcheck.diagnosis.candidate import Candidate, Match
from embcheck.diagnosis.wording import explained
from embcheck.errors import NotMeasurable, UsageError
from embcheck.sources.encoders.variants import POOLINGS, Encoder, Padding, Variant, padded_lengths, unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from embcheck.diagnosis.explanation import Explanation
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

    Matrix = NDArray[np.float64]
    Rows = NDArray[np.int64]
    Causes = tuple[tuple[str, tuple[tuple[str, float | int | str], ...]], ...]

MARGIN = 2.0
_FEWEST = 8
_MOST_CONSECUTIVE, _MOST_LONG = 192, 64
_CHECKED = 3
_LEAST_GAIN = 1e-4  # of the mean cosine
_SAMPLE = 16
_LARGER_SAMPLE = 48  # where a line a column is to be fitted
_LEAST_NOISE = 2e-5
_HALF = 0.05  # what computing in 16 bits may leave
_LADDER = (
    4, 8, 12, 16, 20, 24, 32, 40, 48, 50, 64, 80, 96, 100, 112, 120, 126, 127, 128, 130, 160, 192, 200, 224, 254, 255,
    256, 258, 300, 320, 384, 400, 448, 500, 510, 511, 512, 514, 768, 1_000, 1_022, 1_024, 2_048, 4_096, 8_192,
)  # fmt: skip
_REQUESTS = (64, 128, 32, 16, 8, 256, 2_048)
_AS_IS = Variant()
_PREFIXES = ("query: ", "passage: ", "search_query: ", "search_document: ")


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """What is done to states that were pooled: which pooling, what with their lengths, and in which order they come."""

    pooling: str
    lengths: str
    """``kept`` or ``unit``; ``unit after`` is cut first."""
    order: Rows
    """(n,): the candidate's row of each text."""
    causes: Causes


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    causes: Causes
    match: Match
    rows: tuple[int, ...]
    view: _View
    variant: Variant = _AS_IS
    padding: Padding | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.causes)


def diagnose_encoder(
    reference: str | ModelSpec | Encoder, candidate: EmbeddingTable | Matrix, texts: Sequence[str] | None = None
) -> list[Explanation]:
    """Which of the known causes made the candidate's vectors out of what the reference makes of the same texts.

    Parameters
    ----------
    reference
        The encoder as it should be: ``st:PATH`` (``,prefix=TEXT`` where one belongs before each text), a directory that
        transformers reads (pooled by the mean; give an `Encoder` for another pooling), or an `Encoder`.
    candidate
        A table, such as that of ``api:URL,model=NAME``, or an (n, d) matrix.
    texts
        The n texts whose vectors the rows should be; a table's own if not given.

    Returns
    -------
    list of Explanation
        One for each cause: the single one ``identical``, one, or as many as compose. Empty where none of those that are
        known leaves less than noise would, or two of them do alike.

    Raises
    ------
    UsageError
        The numbers of texts and rows differ, or no texts are given with a matrix.
    NotMeasurable
        The encoder has no tokens to pool, or pools in a way that is not known; fewer than 8 rows are finite; or the
        candidate's vectors are wider than the reference's.
    """
    vectors, listed = _given(candidate, texts)
    encoder = reference if isinstance(reference, Encoder) else Encoder(reference)
    return _Diagnosis(encoder, vectors, listed).explanations()


def _given(candidate: EmbeddingTable | Matrix, texts: Sequence[str] | None) -> tuple[Matrix, list[str]]:
    own = getattr(candidate, "vectors", None)
    matrix: Any = candidate if own is None else own.float().cpu().numpy()
    vectors = np.asarray(matrix, dtype=np.float64)
    listed = list(getattr(candidate, "tokens", ()) if texts is None else texts)
    if vectors.ndim != 2 or len(listed) != len(vectors):
        raise UsageError(
            f"{len(listed)} texts are given for vectors of shape {vectors.shape}; give the text of every row"
        )
    return vectors, listed


class _Diagnosis:
    """One candidate, the reference's states of its texts, and every trial that was made."""

    def __init__(self, encoder: Encoder, vectors: Matrix, texts: Sequence[str]) -> None:
        usable = np.flatnonzero(np.isfinite(vectors).all(1))
        if len(usable) < _FEWEST:
            raise NotMeasurable(f"{len(usable)} rows of finite numbers are too few to diagnose; give {_FEWEST} or more")
        self.encoder = encoder
        long = sorted(usable[_MOST_CONSECUTIVE:], key=lambda at: (-len(texts[at]), at))[:_MOST_LONG]
        self.at = np.array([*usable[:_MOST_CONSECUTIVE], *sorted(long)], dtype=np.int64)
        self.texts = [texts[at] for at in self.at]
        encoder.require_known_ways(self.texts[:_CHECKED])
        self.ids = encoder.ids(self.texts, _AS_IS)
        self.states = encoder.pooled(self.ids)
        width = encoder.finished(self.states["mean"][:1], is_normalised=False).shape[1]
        self.candidate = Candidate(vectors[self.at], width)
        if self.candidate.width > width:
            raise NotMeasurable(f"the candidate's vectors have {self.candidate.width} numbers, the reference's {width}")
        kept, own = self.candidate.width, encoder.width or width
        self.cut: Causes = () if kept == own else (("width", (("kept", kept), ("of", own))),)
        alone = encoder.run(self.ids[:1]), encoder.run(self.ids[-1:])
        jitter = [
            np.abs(one["mean"][0] - self.states["mean"][at]).max() for one, at in zip(alone, (0, -1), strict=True)
        ]
        self.noise = max(_LEAST_NOISE, 10 * float(max(jitter)) / float(np.abs(self.states["mean"]).max()))
        self.trials: list[_Trial] = []

    def explanations(self) -> list[Explanation]:
        """What stands after as many trials as are needed."""
        for stage in (self._from_the_same_states, self._one_other_run, self._two_other_runs):
            stage()
            self._in_half_precision()
            standing = [trial for trial in self.trials if trial.match.explains]
            if standing:
                return self._judged(standing)
        return []

    def _judged(self, standing: list[_Trial]) -> list[Explanation]:
        """The shortest that stands, if it beats what else there is by the margin."""
        fewest = min(len(trial.causes) for trial in standing)
        best = min((t for t in standing if len(t.causes) == fewest), key=lambda trial: trial.match.residual)
        rivals = [t.match.residual for t in self.trials if t.names != best.names and len(t.causes) <= fewest]
        if rivals and min(rivals) < MARGIN * max(best.match.residual, best.match.tolerance / MARGIN):
            return []
        return explained(best.causes, best.match.residual, best.rows)

    # --- trials -------------------------------------------------------------------------------------------------

    def _from_the_same_states(self) -> None:
        for view in self.views:
            straight = np.arange(len(self.at))
            is_order_alone = [name for name, _ in view.causes] == ["order"]
            changed = np.flatnonzero(view.order != straight) if is_order_alone else straight
            self._try(view, view.causes, self._match(view, straight, self.states), changed)

    def _one_other_run(self) -> None:
        for causes, variant in self._variants():
            self._run_otherwise(causes, variant)
        self._truncate()
        self._pad()

    def _two_other_runs(self) -> None:
        for (some, one), (more, other) in combinations(list(self._variants()), 2):
            if some[0][0] != more[0][0]:
                changed = {
                    name: value
                    for each in (one, other)
                    for name in ("prefix", "other_case", "special")
                    if (value := getattr(each, name)) != getattr(_AS_IS, name)
                }
                self._run_otherwise(some + more, Variant(**changed))

    def _variants(self) -> Iterator[tuple[Causes, Variant]]:
        own = self.encoder.prefix
        prefixes = {own * 2: "doubled", "": "missing"} if own else {}
        prefixes = dict.fromkeys((*_PREFIXES, *self.encoder.prompts.values()), "another" if own else "added") | prefixes
        for text, what in prefixes.items():
            if text != own:
                yield (
                    (("prefix", (("is", what), ("text", own if what in {"missing", "doubled"} else text))),),
                    Variant(prefix=text),
                )
        yield (("special tokens", ()),), Variant(special=False)
        what = "kept" if self.encoder.is_lower_casing else "lower"
        yield (("case", (("is", what),)),), Variant(other_case=True)

    def _run_otherwise(self, causes: Causes, variant: Variant) -> None:
        """Try what the texts that become other tokens give, under every view that explains those which don't."""
        ids = self.encoder.ids(self.texts, variant)
        changed = [at for at, (mine, own) in enumerate(zip(ids, self.ids, strict=True)) if mine != own and mine]
        views = self._views_explaining(np.setdiff1d(np.arange(len(ids)), changed))
        if not views or len(changed) < 2:
            return
        sample = self._sample(changed)
        states = self.encoder.pooled([ids[at] for at in sample])
        for view in views:
            self._try(view, causes + view.causes, self._match(view, sample, states), changed, variant=variant)

    def _truncate(self) -> None:
        """Find at how many tokens texts were cut, between the longest as it should be and the shortest that isn't."""
        encoder, lengths = self.encoder, np.array([len(row) for row in self.ids])
        whole = np.array([len(row) for row in encoder.ids(self.texts, Variant(longest=encoder.most_tokens))])
        for view in self.views:
            match = self._match(view, np.arange(len(lengths)), self.states)
            good = match.rows <= 3 * match.tolerance
            if good.all():
                continue
            first, last = int(lengths[good].max(initial=3)), int(lengths[~good].min()) - 1
            if (whole[~good] > encoder.longest).all() and first <= encoder.longest:
                options = [n for n in (*_LADDER, encoder.most_tokens) if encoder.longest < n <= encoder.most_tokens]
            elif first <= last:
                options = [
                    n for n in range(first, last + 1) if n in _LADDER or last - first < _SAMPLE or n in {first, last}
                ]
            else:
                continue
            residuals = {n: self._cut_at(n, view, whole) for n in options}
            best = min(residuals, key=lambda n: residuals[n][0].fitted)
            around = range(
                max((n for n in options if n < best), default=best), min((n for n in options if n > best), default=best)
            )
            if not residuals[best][0].explains and len(around) <= 2 * _LARGER_SAMPLE:
                residuals |= {n: self._cut_at(n, view, whole) for n in around if n not in residuals}
                best = min(residuals, key=lambda n: residuals[n][0].fitted)
            match, changed = residuals[best]
            cut = ("at least", int(whole.max())) if best >= whole.max() else ("tokens", best)
            causes: Causes = (("truncation", (cut, ("instead of", encoder.longest))),)
            self._try(view, causes + view.causes, match, changed, variant=Variant(longest=best))

    def _cut_at(self, most: int, view: _View, whole: Rows) -> tuple[Match, list[int]]:
        changed = [int(at) for at in np.flatnonzero(whole > min(most, self.encoder.longest))]
        changed.sort(key=lambda at: whole[at])
        sample = np.array(changed[: self._size], dtype=np.int64)
        ids = self.encoder.ids([self.texts[at] for at in sample], Variant(longest=most))
        return self._match(view, sample, self.encoder.pooled(ids)), sorted(changed)

    def _pad(self) -> None:
        """Try padding that is taken for tokens: up to the longest text of a request, or always to the same length."""
        lengths = np.array([len(row) for row in self.ids])
        tried = set()
        for (request, is_sorted), (in_attention, in_pooling) in product(
            [*product(_REQUESTS, (False, True)), (0, False)], [(True, True), (True, False), (False, True)]
        ):
            padded = (
                padded_lengths(lengths, request, is_sorted=is_sorted)
                if request
                else np.full_like(lengths, self.encoder.longest)
            )
            if (key := (padded.tobytes(), in_attention, in_pooling)) in tried:
                continue
            tried.add(key)
            changed = [int(at) for at in np.flatnonzero(padded > lengths)]
            views = self._views_explaining(np.flatnonzero(padded == lengths))
            if not views or len(changed) < 2:
                continue
            sample = self._sample(changed)
            padding = Padding(tuple(int(n) for n in padded[sample]), in_attention, in_pooling)
            states = self.encoder.pooled([self.ids[at] for at in sample], padding=padding)
            where = " and ".join(["attention"] * in_attention + ["pooling"] * in_pooling)
            to = ("up to", int(padded[0])) if not request else ("texts at once", min(request, len(lengths)))
            causes: Causes = (("padding", (to, ("taken for tokens in", where))),)
            for view in views:
                self._try(view, causes + view.causes, self._match(view, sample, states), changed, padding=padding)

    def _in_half_precision(self) -> None:
        """Where little is left over, and of every row: does computing in 16 bits leave as much?"""
        if not self.trials or any(trial.match.explains for trial in self.trials):
            return
        best = min(self.trials, key=lambda trial: trial.match.residual)
        rows = best.match.rows
        if best.match.residual > _HALF or (rows > 0.1 * best.match.residual).mean() < 0.9 or best.padding is not None:
            return
        sample = self._sample(range(len(self.at)))
        ids = self.encoder.ids([self.texts[at] for at in sample], best.variant)
        exact = self._vectors(best.view, self.encoder.pooled(ids))
        for dtype in ("float16", "bfloat16"):
            coarse = self._vectors(best.view, self.encoder.pooled(ids, dtype=dtype))
            deviation = float(np.sqrt(((coarse - exact) ** 2).sum() / (exact**2).sum()))
            if best.match.residual <= 2.5 * deviation:
                causes = tuple(cause for cause in best.causes if cause[0] != "precision")
                causes += (("precision", (("dtype", dtype), ("in", "computing"))),)
                match = replace(best.match, tolerance=2.5 * deviation)
                self.trials.remove(best)
                self.trials.append(replace(best, causes=causes, match=match))
                return

    # --- what trials are made of --------------------------------------------------------------------------------

    @cached_property
    def views(self) -> list[_View]:
        """Every pooling, length and order, and what of it is otherwise than the encoder says."""
        encoder, precision = self.encoder, self.candidate.precision
        rounding: Causes = (
            () if precision == "float32" else (("precision", (("dtype", precision), ("in", "the numbers"))),)
        )
        own = "unit" if encoder.is_normalised else "kept"
        views = []
        for order, pooling, lengths in product(self._orders(), POOLINGS, ("kept", "unit", "unit after")):
            if lengths == "unit after" and not self.cut:
                continue
            if lengths != own and precision in {"binary", "packed bits"}:
                continue  # signs have no length
            causes: Causes = () if (order == np.arange(len(order))).all() else (("order", _moved(order)),)
            causes += (
                () if pooling == encoder.pooling else (("pooling", (("is", pooling), ("instead of", encoder.pooling))),)
            )
            if lengths != own and not (lengths == "unit after" and own == "unit"):
                causes += (("normalisation", (("is", "missing" if lengths == "kept" else "added"),)),)
            views.append(_View(pooling, lengths, order, causes + self.cut + rounding))
        return views

    def _orders(self) -> list[Rows]:
        """The rows as they come and, where that makes them more alike, each with the text that it is nearest to."""
        from scipy.optimize import linear_sum_assignment

        straight = np.arange(len(self.at))
        mine = _standardised(self.candidate.vectors)
        best: tuple[float, Rows] = (-1.0, straight)
        for pooling in POOLINGS:
            own = self.encoder.finished(self.states[pooling], is_normalised=self.encoder.is_normalised)
            cosines = _standardised(own[:, : self.candidate.width]) @ mine.T
            _, order = linear_sum_assignment(-cosines)
            likeness = float(cosines[straight, order].mean())
            if likeness > best[0]:
                is_better = likeness > np.diag(cosines).mean() + _LEAST_GAIN
                best = likeness, np.asarray(order, dtype=np.int64) if is_better else straight
        return [straight] if best[1] is straight else [straight, best[1]]

    def _views_explaining(self, rows: Rows) -> list[_View]:
        """The views under which these rows, that a cause leaves alone, are what they should be."""
        if len(rows) < 2:
            return self.views
        states = {name: states[rows] for name, states in self.states.items()}
        return [view for view in self.views if self._match(view, rows, states).explains]

    def _vectors(self, view: _View, states: dict[str, NDArray[np.float32]]) -> Matrix:
        whole = self.encoder.finished(states[view.pooling], is_normalised=view.lengths == "unit")
        cut = whole[:, : self.candidate.width]
        return unit(cut) if view.lengths == "unit after" else cut

    def _match(self, view: _View, rows: Rows, states: dict[str, NDArray[np.float32]]) -> Match:
        return self.candidate.match(view.order[rows], self._vectors(view, states), self.noise)

    def _try(self, view: _View, causes: Causes, match: Match, rows: Sequence[int] | Rows, **run: Any) -> None:
        changed = tuple(int(self.at[view.order[at]]) for at in rows)
        self.trials.append(_Trial(causes, match, tuple(sorted(changed)), view, **run))

    @property
    def _size(self) -> int:
        return _LARGER_SAMPLE if self.candidate.precision in {"int8", "uint8"} else _SAMPLE

    def _sample(self, rows: Sequence[int] | range) -> Rows:
        """Some of the rows, from all over."""
        spread = np.linspace(0, len(rows) - 1, min(self._size, len(rows))).astype(np.int64)
        return np.asarray(rows, dtype=np.int64)[np.unique(spread)]


def _standardised(vectors: Matrix) -> Matrix:
    """Rows of unit length after columns of mean 0 and spread 1."""
    centered = vectors - vectors.mean(0)
    spread = centered.std(0)
    return unit(centered / np.where(spread > 0, spread, 1.0))


def _moved(order: Rows) -> tuple[tuple[str, int], ...]:
    """How many rows stand elsewhere, and the smallest number of rows at a time within which they moved."""
    straight = np.arange(len(order))
    blocks = [size for size in (8, 16, 32, 64, 128, 256) if (order // size == straight // size).all()]
    return (("rows", int((order != straight).sum())), ("within", blocks[0] if blocks else len(order)))
