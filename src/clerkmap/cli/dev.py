"""`clerkmap dev`: Clerk on localhost. Slow imports wait until the options are valid."""

import json
import shlex
import sqlite3
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from ..local.instance import Box

MEMORY = ":memory:"


@click.command("dev")
@click.option(
    "--port", default=4400, show_default=True, type=click.IntRange(0, 65_535), help="The port, or 0 for any free port."
)
@click.option(
    "--db",
    default="clerkmap-dev.db",
    show_default=True,
    help="The SQLite file of the demo application; :memory: to keep nothing.",
)
@click.option("--state", help="The file of the state of Clerk.  [default: beside the database]")
@click.option("--forward", metavar="URL", help="The webhook URL of your application, which receives the webhooks, too.")
@click.option("--seed", type=click.IntRange(0, 2**31), help="The seed of keys and ids.")
@click.option("--open/--no-open", "opening", default=False, help="Open the page in a browser.")
@click.option("--json", "as_json", is_flag=True, help="Print the address as one line of JSON.")
@click.pass_context
def command(
    context: click.Context,
    port: int,
    db: str,
    state: str | None,
    forward: str | None,
    seed: int | None,
    opening: bool,
    as_json: bool,
) -> None:
    """Run Clerk on localhost: its API, its keys, a page to play with, and a demo application on an SQLite file.

    It needs no account and no network, and is reachable from this machine only. Its state survives a restart. With
    --forward it prints the environment variables that connect your own application to it.
    """
    from ..local.forward import check_forward

    if forward is not None:
        try:
            check_forward(forward)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--forward") from None
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="clerkmap-")) if db == MEMORY else None
        path = Path(folder, "clerkmap-dev.db") if folder else Path(db)
        if path.is_dir() or (state and Path(state).resolve() == path.resolve()):
            raise click.BadParameter("it must be a separate file", param_hint="--db")
        if not path.parent.is_dir():
            raise click.ClickException(f"cannot use {db}: there is no folder {path.parent}")
        kept = Path(state) if state else None if folder else Path(f"{db}.clerk.json")
        is_named = context.get_parameter_source("db") is ParameterSource.COMMANDLINE and state is None
        if is_named and kept is not None and not kept.exists() and _is_database(path):
            raise click.BadParameter(
                f"{db} exists, but {kept}, which clerkmap dev keeps beside its database, does not: it may be "
                "the database of your application. Name another file",
                param_hint="--db",
            )
        _serve(port, path, kept, forward, seed, opening=opening, as_json=as_json)


def _is_database(path: Path) -> bool:
    """Return whether the path is an SQLite file with content."""
    try:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


def _serve(
    port: int, path: Path, kept: Path | None, forward: str | None, seed: int | None, *, opening: bool, as_json: bool
) -> None:
    try:
        from ..local import server
    except ModuleNotFoundError as missing:
        if missing.name != "uvicorn":
            raise
        raise click.ClickException("this command needs a server: pip install 'clerkmap[cli]'") from None
    from ..local.app import LocalApp
    from ..local.state import StateNotKept

    try:
        listening = server.listening_on(port)
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on port {port} ({error.strerror}). It may be running already: see http://127.0.0.1:{port}. "
            "Otherwise choose another port with --port, or any free port with --port 0."
        ) from None
    with listening:
        box = _box(path, kept, forward, seed)
        app = LocalApp(box, listening.getsockname()[1])

        def started() -> None:
            _say(box, app.address, kept, as_json=as_json)
            if opening:
                click.launch(app.address)

        try:
            server.run(box, app, listening, started)
        except StateNotKept as unkept:
            raise click.ClickException(str(unkept)) from None
    if not as_json:
        click.echo("\nEnded." if kept is None else f"\nEnded. The state is in {path} and {kept}.")


def _box(path: Path, kept: Path | None, forward: str | None, seed: int | None) -> "Box":
    from ..errors import ClerkmapError
    from ..local.instance import Box, SeedTaken
    from ..local.state import StateDamaged, StateFile, StateNotKept, StateTaken

    try:
        return Box(path, state=None if kept is None else StateFile(kept), seed=seed, forward=forward)
    except (StateDamaged, StateNotKept) as unusable:
        raise click.ClickException(str(unusable)) from None
    except StateTaken as taken:
        raise click.ClickException(f"{taken}. Name other files with --db or --state.") from None
    except SeedTaken as taken:
        raise click.ClickException(f"{taken}. Leave out --seed, or name another file with --db.") from None
    except (OSError, sqlite3.Error, ClerkmapError) as error:
        raise click.ClickException(f"cannot use {path} ({error}). Name another file with --db.") from None


def _say(box: "Box", address: str, kept: Path | None, *, as_json: bool) -> None:
    from ..local.snapshot import environment

    variables = environment(box.clerk, address)
    if as_json:
        files = {"db": str(box.demo.path), "state": None if kept is None else str(kept)}
        click.echo(json.dumps({"address": address, **files, "environment": variables}))
        return
    click.echo(f"Clerk on localhost: {click.style(address, bold=True)}\n")
    click.echo(f"It is a fake, with a demo application on {box.demo.path}. No data leaves this machine.")
    click.echo('Open the page, sign up a user, press "Sign in", and see the row. Stop with Ctrl-C.')
    if box.forward is not None:
        click.echo(f"\nWebhooks go to {box.forward.url} as well. Start your application with these variables:\n")
        for name, value in variables.items():
            click.echo(f"export {name}={shlex.quote(value)}")
