"""The table of commands, with a line about each, so that to list them is to load none."""

from importlib import import_module
from typing import Any

import click

import clerkmap

# Each is the function of that name in the module of that name.
COMMANDS: dict[str, str] = {
    "dev": "Clerk on localhost, with its page and a demo app mapped to an SQLite file.",
}


class Commands(click.Group):
    """A group whose commands are loaded when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of them, loaded."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f".{cmd_name.replace('-', '_')}", __package__).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of `--help`, out of the table."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(clerkmap.__version__)
def root(**_: Any) -> None:
    """The seam between Clerk and your own records."""
