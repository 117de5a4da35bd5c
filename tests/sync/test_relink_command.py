"""`clerkmap relink` as a script runs it and as a person does: the plan, the question, the moves, and the files."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result

from clerkmap.cli.failures import CONFIGURATION, FINE, NOT_FINE, USAGE
from clerkmap.ports import Ids
from clerkmap.repositories import SqliteRepository
from clerkmap.testing import FakeClerk
from cli_world import World, fresh, synced, world
from postgres_server import url_of_a_new_schema

__all__ = ["fresh", "synced"]


class Move:
    """A database with the people of two instances: Ada is in both, and others in one."""

    def __init__(self, at: World, prod: FakeClerk, folder: Path) -> None:
        self.at = at
        self.dev = at.clerk
        self.prod = prod
        self.folder = folder
        self.ada = next(iter(self.dev.users.values()))
        self.new_ada = next(iter(prod.users.values()))
        self.names = ("--from", self.dev.instance.name, "--to", prod.instance.name)

    def run(self, *arguments: str) -> Result:
        """Run the command with both instances named."""
        return self.at.run("relink", *self.names, *arguments)

    def mapping(self, data: bytes | str) -> str:
        """The path of a file with this in it."""
        path = self.folder / "who.csv"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return str(path)

    def users(self) -> dict[str | None, str]:
        """Whom each Clerk id leads to."""
        with closing(sqlite3.connect(self.folder / "app.db")) as connection:
            return dict(connection.execute("SELECT clerk_id, user_id FROM clerkmap_identities"))

    @property
    def is_done(self) -> bool:
        """Whether Ada is one person."""
        users = self.users()
        return users[self.ada.id] == users[self.new_ada.id]


@pytest.fixture
def move(synced: World, tmp_path: Path) -> Iterator[Move]:
    """Two instances, both copied into one database."""
    prod = FakeClerk(8)
    prod.create_user(email="Ada@example.com")
    with world(prod, tmp_path) as there:
        assert there.run("sync").exit_code == FINE
        yield Move(synced, prod, tmp_path)


def test_a_script_sees_the_plan_moves_and_finds_nothing_more_to_do(move: Move) -> None:
    """Data on one stream, talk on the other, and a code that says that two were refused."""
    before = move.users()
    shown = move.run("--by", "verified_email", "--dry-run")
    assert shown.exit_code == NOT_FINE
    first, *others = shown.stdout.splitlines()
    ids = (move.ada.id, move.new_ada.id, before[move.ada.id], before[move.new_ada.id])
    assert first == "move from={} to={} user={} left={}".format(*ids)
    assert [line.split()[::3] for line in others] == [["refuse", "reason=not_found"]] * 2
    assert "2 not_found: no stored user matches" in shown.stderr
    assert move.users() == before
    done = move.run("--by", "verified_email", "--yes")
    assert (done.exit_code, done.stdout) == (NOT_FINE, shown.stdout)
    assert "1 moved" in done.stderr
    assert move.is_done
    told = json.loads(move.run("--by", "verified_email", "--yes", "--json").stdout)
    assert (told["applied"], told["moves"], told["already"], len(told["refusals"])) == (False, [], 1, 2)
    assert f"identity    {move.new_ada.id}" in move.at.run("show", move.ada.id).stdout


def test_a_mapping_alone_is_fine_where_everybody_in_it_is_moved(move: Move) -> None:
    """Exit code 0, and JSON that says what was done."""
    path = move.mapping(f"from,to\r\n{move.ada.id},{move.new_ada.id}\r\n")
    told = move.run("--mapping", path, "--json", "--dry-run")
    assert (told.exit_code, json.loads(told.stdout)["applied"], move.is_done) == (FINE, False, False)
    done = move.run("--mapping", path, "--json", "--yes")
    assert (done.exit_code, json.loads(done.stdout)["applied"], move.is_done) == (FINE, True, True)
    assert json.loads(done.stdout)["moves"] == json.loads(told.stdout)["moves"]
    assert move.run("--mapping", path, "--yes").exit_code == FINE


def test_without_a_terminal_nobody_is_asked_and_nothing_is_done(move: Move) -> None:
    """A pipe is no consent; and exactly one way must be named."""
    for arguments in (("--by", "external_id"), (), ("--by", "own_id", "--mapping", "x", "--yes"), ("--by", "email")):
        done = move.run(*arguments)
        assert (done.exit_code, done.stdout) == (USAGE, ""), arguments
    assert "--dry-run" in move.run("--by", "external_id").stderr
    assert not move.is_done


def test_a_name_that_nobody_has_is_no_instance(move: Move) -> None:
    """One line that says what to do."""
    for names in (("--from", "dev"), ("--to", "prod"), ("--to", move.dev.instance.name)):
        done = move.run("--by", "verified_email", "--yes", *names)
        assert (done.exit_code, done.stdout) == (CONFIGURATION, ""), done.output
        assert done.stderr.count("\n") == 1
    assert not move.is_done


HOSTILE: list[tuple[str, bytes, str]] = [
    ("not UTF-8", b"a,b\n\xff\xfe,c\n", "line 2"),
    ("UTF-16", "a,b\n".encode("utf-16"), "line 1"),
    ("a zero character", b"a\x00,b\n", "line 1"),
    ("a huge line", b"a" * 5_000_000, "line 1"),
    ("a huge number of columns", b"a," * 3_000, "line 1"),
    ("one column", b"a\n", "line 1"),
    ("three columns", b"a,b\na,b,c\n", "line 2"),
    ("an empty id", b"a,\n", "line 1"),
    ("an id too long", b"a," + b"b" * 256, "line 1"),
    ("an escape sequence", b"a,\x1b[2J\n", "line 1"),
    ("two lines in one", b'a,"b\nc"\n', "line 1"),
    ("a quote that never ends", b'a,"b\n', "line 1"),
    ("old line ends", b"a,b\rc,d\r", "line 1"),
    ("the same person twice", b"a,b\nc,d\na,e\n", "line 3"),
    ("a key twice", b'{"from": "a", "from": "b", "to": "c"}\n', "line 1"),
    ("other keys", b'{"from": "a", "to": "b", "why": "c"}\n', "line 1"),
    ("no texts", b'{"from": 1, "to": "b"}\n', "line 1"),
    ("half a character", b'{"from": "a", "to": "\\ud800"}\n', "line 1"),
    ("deep JSON", b'{"from":' * 900 + b"\n", "line 1"),
    ("one JSON text for all", b'[\n{"from": "a", "to": "b"}\n]\n', "line 1"),
    ("a BOM in the middle", b"a,b\n\xef\xbb\xbfc,d\n", "line 2"),
    ("nothing", b"", "no ids"),
    ("a header alone", b"from,to\n\n", "no ids"),
]


@pytest.mark.parametrize(("name", "data", "said"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_a_file_of_which_a_line_cannot_be_read_moves_nobody(move: Move, name: str, data: bytes, said: str) -> None:
    """Not even those in its good lines; it is said where, and nothing of it is repeated."""
    if "line" in said:
        data, said = f"{move.ada.id},{move.new_ada.id}\n".encode() + data, f"line {int(said[5:]) + 1}"
    done = move.run("--yes", "--mapping", move.mapping(data))
    assert (done.exit_code, done.stdout) == (USAGE, "")
    assert said in done.stderr
    assert "No user was moved" in done.stderr
    assert not {"\x1b", "\x00"} & set(done.stderr)
    assert len(done.stderr) < 400
    assert not move.is_done


@pytest.mark.parametrize(
    "text",
    [
        "{0},{1}",
        "\ufefffrom,to\n{0},{1}\n",
        '\ufeff"{0}", "{1}"\r\n\r\n',
        '{{"from": "{0}", "to": "{1}"}}\n',
        '\n{{"to":"{1}","from":"{0}"}}\r\n{0},{1}\n',
    ],
)
def test_a_file_may_be_written_in_several_ways(move: Move, text: str) -> None:
    """With a BOM or without, quoted or not, with empty lines, with the same line twice."""
    path = move.mapping(text.format(move.ada.id, move.new_ada.id))
    assert move.run("--mapping", path, "--yes").exit_code == FINE
    assert move.is_done


def test_a_circle_and_strangers_in_a_file_are_refused_one_by_one(move: Move) -> None:
    """The others are moved. A header of another name is somebody who is not stored."""
    _, first, second = move.dev.users
    lines = [("dev_id", "prod_id"), (first, second), (second, first), (move.ada.id, move.new_ada.id)]
    path = move.mapping("".join(f"{one},{other}\n" for one, other in lines))
    done = move.run("--mapping", path, "--yes", "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == NOT_FINE
    assert move.is_done
    assert [each["reason"] for each in told["refusals"]] == ["not_found"]
    assert len(told["moves"]) == 3  # whoever is called that in the new instance is somebody else than in the old one


def test_it_works_where_ids_are_numbers_or_of_your_own_making(synced: World, tmp_path: Path) -> None:
    """No id is made, so none has to be chosen; 0 is an id like others."""
    file = tmp_path / "who.jsonl"
    file.write_text('{"from": "ada", "to": "ada"}')
    made: list[Ids] = [int, lambda record: f"mine-{record.clerk_id}"]
    for number, ids in enumerate(made):
        path = tmp_path / f"{number}.db"
        with closing(SqliteRepository.open(path, ids=ids, first_id=None if number else 1)) as repository:
            zero = 0 if number == 0 else "zero"
            repository.link("old", "ada", "me" if number else 7)
            repository.link("new", "ada", zero)
        done = synced.run(
            *("relink", "--database", str(path), "--from", "old", "--to", "new", "--yes", "--mapping", str(file))
        )
        assert (done.exit_code, done.stdout) == (
            FINE,
            f"move from=ada to=ada user={'me' if number else 7} left={zero}\n",
        )


def test_it_works_on_postgresql_too(move: Move, postgres_schema: str) -> None:
    """The same command, with a URL of another kind."""
    move.at.environment["CLERKMAP_DATABASE_URL"] = url_of_a_new_schema(postgres_schema)
    move.at.run("migrate", "--create")
    move.at.run("sync")
    assert move.run("--by", "verified_email", "--yes").exit_code == CONFIGURATION  # nobody of the new one yet
    with world(move.prod, move.folder) as there:
        there.run("sync", CLERKMAP_DATABASE_URL=move.at.environment["CLERKMAP_DATABASE_URL"])
    told = json.loads(move.run("--by", "verified_email", "--yes", "--json").stdout)
    assert (told["applied"], len(told["moves"])) == (True, 1)
    again = json.loads(move.run("--by", "verified_email", "--yes", "--json").stdout)
    assert (again["moves"], again["already"]) == ([], 1)


def test_a_person_sees_the_plan_and_is_asked(move: Move) -> None:
    """No means no; yes moves, with progress on the way."""
    for answer, code in (("n\n", NOT_FINE), ("y\n", NOT_FINE)):
        at = move.at.terminal("relink", *move.names, "--by", "verified_email")
        at.wait_for("Move these users? [y/N]")
        assert f"move from={move.ada.id}" in at.seen
        at.type(answer)
        assert at.end() == code
        assert move.is_done is (answer == "y\n")
        assert ("1 moved" in at.seen) is (answer == "y\n")
        assert "Traceback" not in at.seen
    last = move.at.terminal("relink", *move.names, "--by", "verified_email")
    assert last.end() == NOT_FINE  # two are refused still
    assert "Move these users?" not in last.seen


def test_who_ends_at_the_question_moves_nobody(move: Move) -> None:
    """Ctrl-D is no consent."""
    at = move.at.terminal("relink", *move.names, "--by", "verified_email")
    at.wait_for("Move these users?")
    at.type("\x04")
    assert at.end() == NOT_FINE
    assert "Traceback" not in at.seen
    assert not move.is_done


def test_a_real_pipe_gets_no_colours_and_no_question(move: Move) -> None:
    """In a process of its own."""
    done = move.at.process("relink", *move.names, "--by", "verified_email", "--yes", TERM="xterm")
    assert done.returncode == NOT_FINE
    assert done.stdout.startswith(f"move from={move.ada.id}")
    assert "\x1b" not in done.stdout + done.stderr
    assert "Move these users?" not in done.stderr
    assert move.is_done
