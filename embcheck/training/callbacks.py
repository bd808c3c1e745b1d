"""The monitor as a callback of transformers' ``Trainer``. Only this module imports that library for itself."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from embcheck.errors import UsageError
from embcheck.training.monitor import Monitor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments

__all__ = ["EmbcheckCallback"]

_logger = logging.getLogger(__name__)
STATE = "embcheck-monitor.json"
"""Beside each checkpoint: what a run that is resumed from it goes on with."""


class EmbcheckCallback(TrainerCallback):
    """Checks properties at the first step, every so many steps or at each evaluation, and at the end.

    A callback does not know its trainer, whose other callbacks are the loggers (TensorBoard, Weights & Biases, MLflow,
    the console): add it by ``EmbcheckCallback(...).attach(trainer)``, not by ``callbacks=[...]``. What a resumed run
    goes on with is kept beside each checkpoint.

    Parameters
    ----------
    every
        Number of steps from one check to the next; by default it is checked at each evaluation.
    tokenizer
        By default the trainer's ``processing_class``.
    options
        The other arguments of ``embcheck.training.monitor.Monitor``, but for ``log``.

    Raises
    ------
    UsageError
        An argument is wrong.
    """

    def __init__(self, *, every: int | None = None, tokenizer: Any = None, **options: Any) -> None:
        if every is not None and every < 1:
            raise UsageError(f"every must be a number of steps from 1 on, got {every}")
        if "log" in options:
            raise UsageError("log= is the trainer's own here; give a Monitor another in a loop of your own")
        self.every = every
        self.monitor = Monitor(tokenizer, log=self._log, **options)
        self._trainer: Trainer | None = None

    def attach(self, trainer: Trainer) -> EmbcheckCallback:
        """Add the callback to a trainer, and log through it."""
        self._trainer = trainer
        trainer.add_callback(self)
        return self

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Check the model before its first step: the run's own baseline, or that of the run that is resumed.

        Where that one had stopped, no step is made.
        """
        if state.global_step and not self.monitor.resume(_beside(args, state) / STATE):
            _logger.warning("no state of embcheck beside checkpoint-%d: its run begins here", state.global_step)
        self._observe(state, control, kwargs)
        if control.should_training_stop:  # the trainer looks at the mark after a step only: it gets no batch for one
            vars(self._trainer)["get_batch_samples"] = lambda *_args: ([], None)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002 - the callback's signature
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Keep beside the checkpoint what a run resumed from it goes on with."""
        if _beside(args, state).is_dir():
            self.monitor.save(_beside(args, state) / STATE)

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the callback's signature
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Check the model every so many steps."""
        if self.every is not None and state.global_step % self.every == 0:
            self._observe(state, control, kwargs)

    def on_evaluate(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the callback's signature
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Check the model at each evaluation, where no number of steps was given."""
        if self.every is None:
            self._observe(state, control, kwargs)

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Check the model as training leaves it, which may be with the weights of an earlier step; write the report."""
        vars(self._trainer).pop("get_batch_samples", None)
        best = Path(state.best_model_checkpoint or "").name if args.load_best_model_at_end else ""
        is_earlier = best not in {"", f"checkpoint-{state.global_step}"}
        self._observe(state, control, kwargs, name=f"final-{best}" if is_earlier else None)
        self.monitor.finish()

    def _observe(
        self, state: TrainerState, control: TrainerControl, event: Mapping[str, Any], name: str | None = None
    ) -> None:
        if self._trainer is None:
            raise UsageError("EmbcheckCallback was not attached: add it by EmbcheckCallback(...).attach(trainer)")
        if self.monitor.tokenizer is None:
            processor = event.get("processing_class")
            self.monitor.tokenizer = getattr(processor, "tokenizer", processor)
        due = control.should_log  # logging ours takes the mark off that the trainer's own numbers are due
        seen = self.monitor.observe(event["model"], state.global_step, name=name)
        control.should_log = due
        control.should_training_stop |= seen.stop

    def _log(self, step: int, values: dict[str, float]) -> None:
        """Tell the loggers, not the trainer: some trainers' ``log`` adds their running averages, and clears them."""
        if self._trainer is None:
            return
        trainer, state = self._trainer, self._trainer.state
        logs = values if state.epoch is None else {**values, "epoch": state.epoch}
        state.log_history.append({**logs, "step": step})
        trainer.callback_handler.on_log(trainer.args, state, trainer.control, dict(logs))


def _beside(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
