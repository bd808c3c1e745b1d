"""The monitor as a callback of transformers' ``Trainer``. Only this module imports that library for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from embcheck.errors import UsageError
from embcheck.training.monitor import Monitor

if TYPE_CHECKING:
    from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments

    from embcheck.training.monitor import Observation

__all__ = ["EmbcheckCallback"]


class EmbcheckCallback(TrainerCallback):
    """Checks properties at the first step, every so many steps or at each evaluation, and at the end.

    A callback does not know its trainer, whose ``log`` reaches every logger (TensorBoard, Weights & Biases, MLflow, the
    console, ``state.log_history``): add it by ``EmbcheckCallback(...).attach(trainer)``, not by ``callbacks=[...]``.

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
        args: TrainingArguments,  # noqa: ARG002 - the callback's signature
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Check the model before its first step: the run's own baseline."""
        if self._trainer is None:
            raise UsageError("EmbcheckCallback was not attached: add it by EmbcheckCallback(...).attach(trainer)")
        if self.monitor.tokenizer is None:
            self.monitor.tokenizer = kwargs.get("processing_class")
        self._observe(kwargs["model"], state, control)

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the callback's signature
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Check the model every so many steps."""
        if self.every is not None and state.global_step % self.every == 0:
            self._observe(kwargs["model"], state, control)

    def on_evaluate(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the callback's signature
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Check the model at each evaluation, where no number of steps was given."""
        if self.every is None:
            self._observe(kwargs["model"], state, control)

    def on_train_end(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the callback's signature
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Check the model as training leaves it, and write the report."""
        self._observe(kwargs["model"], state, control)
        self.monitor.finish()

    def _observe(self, model: Any, state: TrainerState, control: TrainerControl) -> Observation:
        due = control.should_log  # logging ours takes the mark off that the trainer's own numbers are due
        seen = self.monitor.observe(model, state.global_step)
        control.should_log = due
        control.should_training_stop |= seen.stop
        return seen

    def _log(self, _step: int, values: dict[str, float]) -> None:
        if self._trainer is not None:
            self._trainer.log(values)
