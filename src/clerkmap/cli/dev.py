"""`clerkmap dev`: Clerk on localhost. Everything that takes time to load is loaded when the options are right."""

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
@click.option("--port", default=4400, show_default=True, type=click.IntRange(0, 65_535), help="0 for any free one.")
@click.option(
    "--db",
    default="clerkmap-dev.db",
    show_default=True,
    help="The SQLite file of the demo app; :memory: to keep nothing at all.",
)
@click.option("--state", help="Where Clerk keeps its people. [default: beside the database]")
@click.option("--forward", metavar="URL", help="An app of yours that is to have the webhooks as well.")
@click.option("--seed", type=click.IntRange(0, 2**31), help="What keys and ids are made from.")
@click.option("--open/--no-open", "opening", default=False, help="Show the page in a browser.")
@click.option("--json", "as_json", is_flag=True, help="Say where it is as one line of JSON, for programs.")
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
    """Clerk on localhost: its API, its keys, a page to play with, and a demo app mapped to an SQLite file.

    It needs no account and no network, and nobody but this machine can reach it. What is there is there again after a
    restart. With --forward it prints the environment variables that make your own app take it for Clerk.
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
            raise click.BadParameter("it must be a file of its own", param_hint="--db")
        if not path.parent.is_dir():
            raise click.ClickException(f"cannot use {db}: there is no folder {path.parent}")
        kept = Path(state) if state else None if folder else Path(f"{db}.clerk.json")
        is_named = context.get_parameter_source("db") is ParameterSource.COMMANDLINE and state is None
        if is_named and kept is not None and not kept.exists() and _is_database(path):
            raise click.BadParameter(
                f"{db} is there already, and {kept}, which clerkmap dev keeps beside its database, is not: it may be "
                "your application's database. Name another file",
                param_hint="--db",
            )
        _serve(port, path, kept, forward, seed, opening=opening, as_json=as_json)


def _is_database(path: Path) -> bool:
    """Whether it is an SQLite file with something in it."""
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
        raise click.ClickException("this needs a server: pip install 'clerkmap[cli]'") from None
    from ..local.app import LocalApp
    from ..local.state import StateNotKept

    try:
        listening = server.listening_on(port)
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on port {port} ({error.strerror}). Perhaps it runs already: see http://127.0.0.1:{port}. "
            "Otherwise choose another port with --port, or --port 0 for any free one."
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
        click.echo("\nEnded." if kept is None else f"\nEnded. What was there is in {path} and {kept}.")


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
    click.echo(f"It is made up, and a demo app beside it is mapped to {box.demo.path}. Nothing leaves this machine.")
    click.echo('Open the page, sign somebody up, press "Sign in", and see their row. Ctrl-C ends it.')
    if box.forward is not None:
        click.echo(f"\nWebhooks go to {box.forward.url} as well. Start that app with these variables:\n")
        for name, value in variables.items():
            click.echo(f"export {name}={shlex.quote(value)}")
