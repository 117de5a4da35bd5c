"""The table of commands, with a line about each, so that listing the commands loads none of them."""

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
    "init": ("init:command", "Create the tables, and print the first lines of an application."),
    "dev": ("dev:command", "Run Clerk on localhost, with a page and a demo application on an SQLite file."),
    "doctor": ("doctor:command", "Check the configuration, and show how to fix each problem."),
    "sync": ("sync:command", "Copy users, organizations and memberships from Clerk."),
    "diff": ("diff:command", "Compare Clerk with your database."),
    "show": ("users:show", "Show the stored data of a user, with its source and its dates."),
    "verify": ("verify:command", "Check a token, and show the user that it authenticates."),
    "token": ("token:command", "Print a session token of Clerk on localhost, for curl."),
    "set-role": ("users:set_role", "Set the role of a user."),
    "link": ("users:link", "Link a Clerk user to your user."),
    "unlink": ("users:unlink", "Unlink a Clerk user from your user."),
    "relink": ("relink:command", "Move users from one instance to another: from development to production."),
    "move": ("move:command", "Copy all tables into another database: from SQLite to PostgreSQL, or back."),
    "export": ("users:export", "Print all stored data of a user as JSON."),
    "erase": ("users:erase", "Erase a user permanently."),
    "purge": ("tables:purge", "Delete old tombstones."),
    "outbox": ("outbox:command", "Show and send the changes that wait to be written back to Clerk."),
    "replay": ("replay:command", "Apply events from a file to your database."),
    "replay-hooks": ("replay:hooks", "Call a new hook of your application for everything that exists."),
    "webhooks": ("webhooks:command", "Test a webhook endpoint with a signed sample."),
    "migrate": ("tables:migrate", "Create the tables, or upgrade them to this version."),
    "schema": ("tables:schema", "Print the tables as a SQL script."),
    "completion": ("commands:completion", "Print a completion script for your shell."),
}


class Commands(click.Group):
    """A group that loads a command when it runs, and ends with the documented exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f".{module}", __package__), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command with this name, or suggest a similar one."""
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            meant = get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {meant[0]!r}?" if meant else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Complete the name of a command from the table."""
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=line) for name, (_, line) in COMMANDS.items() if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of `--help` from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. An error of clerkmap becomes a line that says what to do next."""
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            ctx.color = False
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort) as end:
            # click raises Abort for Ctrl-C, for Ctrl-D and for a "no" to a question.
            if isinstance(end, click.Abort) and not isinstance(end.__context__, KeyboardInterrupt):
                raise
            click.echo("\nclerkmap: interrupted. Work done so far is kept.", err=True)
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
    """Connect Clerk authentication to your own user tables.

    Clerk's environment variables configure Clerk, such as CLERK_PUBLISHABLE_KEY and CLERK_SECRET_KEY. Name your
    database in CLERKMAP_DATABASE_URL or --database. If your application creates its own repository, name that instead
    in CLERKMAP_REPOSITORY or --repository.
    """


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="bash|zsh|fish")
def completion(shell: str) -> None:
    """Print a script that completes commands and options. Add it to the configuration of your shell:

    bash, in ~/.bashrc: eval "$(clerkmap completion bash)"

    zsh, in ~/.zshrc: eval "$(clerkmap completion zsh)"

    fish: clerkmap completion fish > ~/.config/fish/completions/clerkmap.fish
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    script = made(root, {}, "clerkmap", "_CLERKMAP_COMPLETE")
    click.echo(script.source_template % script.source_vars())
