"""The table of commands, with a line about each, so that to list them is to load none."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

import clerkmap

from .failures import INTERRUPTED, failure_of
from .formatting import say

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# The module and the name of each command, and the line about it in the list.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init:command", "Begin: make the tables, and print the lines your application begins with."),
    "dev": ("dev:command", "Clerk on localhost, with its page and a demo app mapped to an SQLite file."),
    "doctor": ("doctor:command", "Whether everything is set up as it should be, and what to do where it is not."),
    "sync": ("sync:command", "Everything that Clerk has, into your database."),
    "diff": ("diff:command", "What differs between Clerk and your database."),
    "show": ("users:show", "What is stored of somebody, from where, since when, and why."),
    "verify": ("verify:command", "Every check that is made of a token, and whom it stands for."),
    "token": ("token:command", "A session token of Clerk on localhost, for curl."),
    "set-role": ("users:set_role", "Give somebody a role of yours."),
    "link": ("users:link", "Tie somebody at Clerk to a user of yours."),
    "unlink": ("users:unlink", "Take somebody at Clerk from a user of yours."),
    "relink": ("relink:command", "Move people from one instance to another: from development to production."),
    "move": ("move:command", "Copy all tables into another database: from SQLite to PostgreSQL, or back."),
    "export": ("users:export", "Everything that is stored of somebody, as JSON."),
    "erase": ("users:erase", "Forget somebody for good."),
    "purge": ("tables:purge", "Forget the tombstones of those who were deleted long ago."),
    "outbox": ("outbox:command", "What is to go back to Clerk: see it, send it."),
    "replay": ("replay:command", "Events out of a file, into your database."),
    "webhooks": ("webhooks:command", "Try an endpoint for webhooks with a signed sample."),
    "migrate": ("tables:migrate", "Make the tables, or bring them to this version's state."),
    "schema": ("tables:schema", "The tables as a script, to be run by other means."),
    "completion": ("commands:completion", "Have your shell finish what is typed."),
}


class Commands(click.Group):
    """A group whose commands are loaded when they are called, and end with the exit codes that are promised."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of them, loaded."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f".{module}", __package__), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is named, or what may have been meant."""
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            meant = get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {meant[0]!r}?" if meant else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """What can be typed next, out of the table."""
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=line) for name, (_, line) in COMMANDS.items() if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of `--help`, out of the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run one. What clerkmap raises becomes a line that says what to do next."""
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            ctx.color = False
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort) as end:
            # At a question click makes one thing of Ctrl-C, of Ctrl-D and of a no.
            if isinstance(end, click.Abort) and not isinstance(end.__context__, KeyboardInterrupt):
                raise
            click.echo("\nclerkmap: interrupted. What was done until now is kept.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
        except (click.ClickException, click.exceptions.Exit):
            raise
        except Exception as error:
            failure = failure_of(error)
            if failure is None:
                raise  # a bug
            line, code = failure
            say(f"clerkmap: {line}")
            raise click.exceptions.Exit(code) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(clerkmap.__version__)
def root(**_: Any) -> None:
    """The seam between Clerk and your own records.

    Clerk's side is told by Clerk's own environment variables, such as CLERK_PUBLISHABLE_KEY and CLERK_SECRET_KEY; yours
    by CLERKMAP_DATABASE_URL, or --database; or by CLERKMAP_REPOSITORY, or --repository, where your application has a
    repository of its own.
    """


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="bash|zsh|fish")
def completion(shell: str) -> None:
    """A script after which the shell finishes the names of commands and options. Put it where your shell begins:

    bash, in ~/.bashrc: eval "$(clerkmap completion bash)"

    zsh, in ~/.zshrc: eval "$(clerkmap completion zsh)"

    fish: clerkmap completion fish > ~/.config/fish/completions/clerkmap.fish
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    script = made(root, {}, "clerkmap", "_CLERKMAP_COMPLETE")
    click.echo(script.source_template % script.source_vars())
