"""All commands, as one program."""

from __future__ import annotations

import click

from embcheck.cli import baselines, check, diagnose, explore, report, sweeps

__all__ = ["program"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="embcheck", message="%(prog)s %(version)s")
def program() -> None:
    """Property tests for embedding matrices."""


_GROUPS = (check, explore, baselines, report, diagnose, sweeps)
for _command in (command for group in _GROUPS for command in group.COMMANDS):
    program.add_command(_command)
