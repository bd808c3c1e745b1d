"""The callback of transformers' Trainer, on a small transformer that is really trained."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

import embcheck
from embcheck import Estimate, above, claim, measures, within
from embcheck.errors import UsageError
from embcheck.training.callbacks import EmbcheckCallback

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the libraries that Trainer stands on
]
STEPS, EVERY = 60, 20
SECONDS = 30.0  # what one check of a small table may cost, on a machine that others use too
WATCHED = ("positive_cosine_bias", "background_similarity", "random_baseline")


class Seen(TrainerCallback):
    """What the loggers are told, and when."""

    def __init__(self):
        self.logs = []

    def on_log(self, args, state, control, logs=None, **_):
        """Keep it, as TensorBoard would."""
        self.logs.append((state.global_step, dict(logs)))


class PullsTogether(Trainer):
    """A trainer whose loss has one more term from some step on: every row is drawn to the first."""

    start = 5

    def compute_loss(self, model, inputs, **options):
        """The loss of the language model, and how far the rows are apart."""
        loss = super().compute_loss(model, inputs, **options)
        if self.state.global_step < self.start:
            return loss
        rows = model.get_input_embeddings().weight
        return loss + 3_000 * ((rows - rows[:1].detach() - 0.1) ** 2).mean()


@pytest.fixture
def trainer(corpus, language_model, tmp_path):
    """Make a trainer that logs to one callback and saves its checkpoints below a folder of the test's own."""

    def make(kind=Trainer, steps=STEPS, evaluated=None, **options):
        arguments = TrainingArguments(
            output_dir=str(tmp_path / "run"),
            max_steps=steps,
            per_device_train_batch_size=8,
            learning_rate=3e-3,
            logging_steps=EVERY,
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            seed=0,
            dataloader_pin_memory=False,
            **options,
        )
        return kind(
            model=language_model,
            args=arguments,
            train_dataset=corpus,
            eval_dataset=evaluated,
            processing_class=corpus.tokenizer,
            callbacks=[Seen()],
        )

    return make


def logged(trainer):
    """By step, the numbers that the other callback was told of."""
    seen = next(c for c in trainer.callback_handler.callbacks if isinstance(c, Seen))
    return {step: logs for step, logs in seen.logs if "embcheck/seconds" in logs}


def test_a_training_run_is_watched(trainer, tmp_path, capsys):
    """It starts at one half, moves as measured, and says of each checkpoint what the checkpoint says of itself."""
    running = trainer(save_steps=EVERY, save_strategy="steps")
    EmbcheckCallback(every=EVERY, properties=WATCHED, report=tmp_path / "report.json").attach(running)
    running.train()
    found = logged(running)
    assert list(found) == list(range(0, STEPS + 1, EVERY))
    losses = {e["step"]: e["loss"] for e in running.state.log_history if "loss" in e}
    assert set(losses) == set(found) - {0}
    assert losses[STEPS] < losses[EVERY]

    start, end = found[0], found[STEPS]
    assert start["embcheck/positive_cosine_bias"] == pytest.approx(0.5, abs=0.01)
    assert start["embcheck/random_baseline"] == pytest.approx(0.5, abs=0.01)
    assert abs(end["embcheck/positive_cosine_bias"] - 0.5) > 0.02
    assert end["embcheck/background_similarity"] < 6  # not a collapse, as the next test makes one
    moved = end["embcheck/positive_cosine_bias"] - start["embcheck/positive_cosine_bias"]
    assert end["embcheck/positive_cosine_bias/change"] == pytest.approx(moved, abs=0.01)
    low, high = (end[f"embcheck/positive_cosine_bias/change_{side}"] for side in ("low", "high"))
    assert low <= end["embcheck/positive_cosine_bias/change"] <= high
    assert low > 0 or high < 0

    for step in (EVERY, STEPS):
        run = embcheck.check(str(tmp_path / f"run/checkpoint-{step}"), properties=WATCHED, probes=1000)
        for result in run.results:
            name = f"embcheck/{result.check.label}"
            told = [found[step][name + end] for end in ("", "/low", "/high", "/pass")]
            assert told == [*_bounds(result.estimate), float(result.verdict == "holds")]

    seconds = {step: logs["embcheck/seconds"] for step, logs in found.items()}
    with capsys.disabled():
        print(f"\n  seconds an evaluation: {seconds}")  # noqa: T201 - the cost is meant to be seen
    assert max(seconds.values()) < SECONDS
    document = json.loads((tmp_path / "report.json").read_text())
    assert [model["alias"] for model in document["models"]] == [f"step-{step}" for step in found]


def _bounds(estimate):
    return [estimate.value, estimate.low, estimate.high]


def test_a_collapse_stops_training(trainer, caplog, tmp_path):
    """Rows that are pulled together stop training, which would not have done it, and the property is named."""

    @claim(within(-6, 6))
    def rows_stay_apart(table):
        """The mean cosine of random pairs stays below 6 / sqrt(64)."""
        return measures.background_cosine(table)

    running = trainer(PullsTogether, save_strategy="no")
    callback = EmbcheckCallback(
        every=5, properties=rows_stay_apart, on_failed="stop", report=tmp_path / "report.json"
    ).attach(running)
    with caplog.at_level(logging.WARNING, logger="embcheck"):
        running.train()
    assert PullsTogether.start < running.state.global_step < STEPS
    passes = [logs["embcheck/rows_stay_apart/pass"] for logs in logged(running).values()]
    assert (passes[0], passes[1], passes[-1]) == (1, 1, 0)
    verdicts = [one.run.results[0].verdict for one in callback.monitor.observations]
    assert [str(verdict) for verdict in verdicts].index("refuted") == len(verdicts) - 1
    (problem,) = callback.monitor.observations[-1].problems
    assert "rows_stay_apart is refuted" in problem
    assert "rows_stay_apart is refuted" in caplog.text
    assert "training stops" in caplog.text
    last = json.loads((tmp_path / "report.json").read_text())["models"][-1]
    assert (last["alias"], last["results"][0]["verdict"]) == (f"step-{running.state.global_step}", "refuted")


def test_evaluations_are_watched(trainer, corpus):
    """Without a number of steps it is checked at each evaluation, and before and after training."""
    few = torch.utils.data.Subset(corpus, range(4))
    running = trainer(steps=6, evaluated=few, eval_strategy="steps", eval_steps=2, save_strategy="no")
    EmbcheckCallback(properties="background_similarity").attach(running)
    running.train()
    assert list(logged(running)) == [0, 2, 4, 6]


class Averages(Trainer):
    """A trainer that adds averages of what was noted since the last log, and clears them, as those of TRL do."""

    noted: list[float]

    def compute_loss(self, *arguments, **options):
        """Note the loss."""
        loss = super().compute_loss(*arguments, **options)
        self.noted.append(float(loss.detach()))
        return loss

    def log(self, logs, *arguments):
        """With the average."""
        logs = {**logs, "average": sum(self.noted) / len(self.noted) if self.noted else 0.0}
        self.noted.clear()
        super().log(logs, *arguments)


def test_running_averages_of_a_trainer_are_its_own(trainer):
    """Logging passes the trainer's own ``log`` by; loggers and history have the numbers all the same."""
    running = trainer(Averages, steps=6, save_strategy="no")
    running.args.logging_steps = 3
    running.noted = []
    EmbcheckCallback(every=2, properties="background_similarity").attach(running)
    running.train()
    averages = {e["step"]: e["average"] for e in running.state.log_history if "loss" in e}
    losses = {e["step"]: e["loss"] for e in running.state.log_history if "loss" in e}
    assert averages == pytest.approx(losses, abs=2e-3)
    history = [e["step"] for e in running.state.log_history if "embcheck/seconds" in e]
    assert history == list(logged(running)) == [0, 2, 4, 6]


def test_evaluation_before_training(trainer, corpus):
    """It is the first observation, with the trainer's tokenizer."""
    running = trainer(steps=2, evaluated=torch.utils.data.Subset(corpus, range(4)), save_strategy="no")
    EmbcheckCallback(properties="background_similarity").attach(running)
    running.evaluate()
    assert list(logged(running)) == [0]
    running.train()
    assert list(logged(running)) == [0, 2]


def test_a_resumed_run_goes_on_with_its_own_baseline(trainer, tmp_path):
    """State lies beside the checkpoints; the report has the steps before, and changes are against the first of all."""
    report = tmp_path / "report.json"
    options = {"every": 2, "properties": "positive_cosine_bias", "report": report}
    first = trainer(steps=4, save_strategy="steps", save_steps=4)
    before = EmbcheckCallback(**options).attach(first).monitor
    first.train()
    second = trainer(steps=6, save_strategy="no")
    after = EmbcheckCallback(**options).attach(second).monitor
    second.train(resume_from_checkpoint=str(tmp_path / "run/checkpoint-4"))
    assert [seen.step for seen in after.observations] == [4, 6]
    change = after.observations[-1].run.report.results[0].change
    assert change.before == before.observations[0].run.report.results[0].estimate.value
    models = json.loads(report.read_text())["models"]
    assert [model["alias"] for model in models] == ["step-0", "step-2", "step-4", "step-6"]


def test_a_run_that_had_stopped_makes_no_step_when_it_is_resumed(trainer, tmp_path):
    """Its weights and its step are those of the checkpoint; the trainer itself is left as it was."""
    values = iter([1.0, 1.0, -1.0])

    @claim(above(0))
    def early(table):
        """It holds twice."""
        return Estimate.exact(next(values))

    first = trainer(steps=8, save_strategy="steps", save_steps=2)
    EmbcheckCallback(every=2, properties=early, on_failed="stop").attach(first)
    first.train()
    assert first.state.global_step == 4
    stopped = {name: weights.clone() for name, weights in first.model.state_dict().items()}
    second = trainer(steps=8, save_strategy="no")
    EmbcheckCallback(every=2, properties=early, on_failed="stop").attach(second)
    second.train(resume_from_checkpoint=str(tmp_path / "run/checkpoint-4"))
    assert second.state.global_step == 4
    assert all(torch.equal(weights, stopped[name]) for name, weights in second.model.state_dict().items())
    assert "get_batch_samples" not in vars(second)


def test_the_last_observation_is_of_the_weights_that_are_left(trainer, corpus, tmp_path):
    """Where the best checkpoint is loaded at the end, it is measured again under its own name."""
    few = torch.utils.data.Subset(corpus, range(8))
    options = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2}
    options |= {"load_best_model_at_end": True, "metric_for_best_model": "loss", "greater_is_better": True}
    running = trainer(steps=6, evaluated=few, **options)  # the worst loss: an early checkpoint
    monitor = EmbcheckCallback(properties="positive_cosine_bias", report=tmp_path / "r.json").attach(running).monitor
    running.train()
    left = embcheck.check(
        running.model, tokenizer=running.processing_class, properties="positive_cosine_bias", probes=1000
    )
    last = monitor.observations[-1]
    assert last.run.results[0].estimate.value == left.results[0].estimate.value
    assert last.run.report.models[0].alias == "final-checkpoint-2"
    assert last.run.results[0].estimate.value != monitor.observations[-2].run.results[0].estimate.value


def test_a_callback_without_a_trainer_says_what_to_do(trainer):
    """It could not log anywhere."""
    running = trainer(steps=1, save_strategy="no")
    running.add_callback(EmbcheckCallback())
    with pytest.raises(UsageError, match=r"add it by EmbcheckCallback\(...\).attach\(trainer\)"):
        running.train()


@pytest.mark.parametrize(("options", "message"), [({"every": 0}, "every must be"), ({"log": print}, "trainer's own")])
def test_wrong_arguments_are_refused_at_once(options, message):
    """Before there is a trainer."""
    with pytest.raises(UsageError, match=message):
        EmbcheckCallback(**options)
