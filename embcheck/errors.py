"""The error tree. Every error that a user can cause is an ``EmbcheckError`` with a one-line message.

::

    EmbcheckError                 exit code 4 unless a subclass says otherwise
    ├── UsageError                wrong option, property name or argument
    │   ├── SpecError             a model spec that can't be parsed
    │   ├── ConfigError           [tool.embcheck] or an EMBCHECK_* variable
    │   └── DeviceError           a device or dtype that isn't there
    ├── ChecksFailed              checks of a run that don't pass, where one asks for an exception
    ├── SourceError               a file that is missing, malformed or unsafe
    └── NotMeasurable             a check that can't be made on this table: skipped, with the reason
"""

from __future__ import annotations

from embcheck.text import inert_line

__all__ = [
    "ChecksFailed",
    "ConfigError",
    "DeviceError",
    "EmbcheckError",
    "NotMeasurable",
    "SourceError",
    "SpecError",
    "UsageError",
]


class EmbcheckError(Exception):
    """Base of all errors that embcheck raises on purpose; ``str(error)`` is one line for the user.

    Messages quote names, tokens and numbers of files that nobody vouches for, so that is seen to here.
    """

    def __init__(self, message: str) -> None:
        super().__init__(inert_line(message))


class UsageError(EmbcheckError, ValueError):
    """A wrong option, name or argument."""


class SpecError(UsageError):
    """A model spec that can't be parsed."""


class ConfigError(UsageError):
    """A wrong key or value in ``[tool.embcheck]`` or in an ``EMBCHECK_*`` variable."""


class DeviceError(UsageError):
    """A device or dtype that is unknown, or that this machine does not have."""


class SourceError(EmbcheckError):
    """A model file that is missing, malformed, or asks for something unsafe."""


class NotMeasurable(EmbcheckError):  # noqa: N818 - not a fault: the check is skipped with this reason
    """The table lacks what a measure needs (words, token classes, room above the control)."""


class ChecksFailed(EmbcheckError, AssertionError):  # noqa: N818 - an assertion that does not hold
    """Some checks of a run don't pass; the message names them."""
