"""`clerkmap relink --repository module:name`: the application's hooks move its own rows in the same transaction."""

import sqlite3
from contextlib import closing
from pathlib import Path

from clerkmap.cli.failures import FINE
from clerkmap.repositories import SqliteRepository
from cli_world import World, fresh

__all__ = ["fresh"]

APPLICATION = """
import sqlite3
from clerkmap.repositories import SqliteRepository

def follow(change, tx):
    if change.is_user and change.before is not None and change.before.id != change.after.id:
        tx.execute("UPDATE letters SET user_id = ? WHERE user_id = ?", (change.after.id, change.before.id))

repository = SqliteRepository.open("own.db", hooks=[follow])
"""


def test_rows_of_your_own_follow_in_the_hook(fresh: World, tmp_path: Path) -> None:
    """Whoever is moved takes along what refers to the user who is left behind."""
    (tmp_path / "shop.py").write_text(APPLICATION)
    (tmp_path / "who.csv").write_text("ada,ada\n")
    with closing(SqliteRepository.open(tmp_path / "own.db")) as repository:
        for where in ("old", "new"):
            repository.link(where, "ada", f"in-{where}")
    with closing(sqlite3.connect(tmp_path / "own.db")) as own:
        own.executescript("CREATE TABLE letters (user_id TEXT); INSERT INTO letters VALUES ('in-new')")
        fresh.folder = tmp_path
        done = fresh.process(
            *("relink", "--from", "old", "--to", "new", "--mapping", "who.csv", "--yes"),
            *("--repository", "shop:repository"),
        )
        assert (done.returncode, done.stdout) == (FINE, "move from=ada to=ada user=in-old left=in-new\n"), done.stderr
        assert own.execute("SELECT user_id FROM letters").fetchall() == [("in-old",)]
