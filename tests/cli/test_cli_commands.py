"""The operator's commands as scripts run them: data on one stream, talk on the other, and exit codes that hold."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from clerkmap import Resolver
from clerkmap.cli.failures import CONFIGURATION, FINE, NOT_FINE, UNAVAILABLE, USAGE
from clerkmap.repositories import SqliteRepository
from clerkmap.testing import FakeClerk
from cli_world import World, fresh, synced, world
from postgres_server import postgres, url_of_a_new_schema

__all__ = ["fresh", "synced"]


def test_a_first_sync_brings_everything_and_a_diff_is_then_empty(fresh: World) -> None:
    """Before: everything is missing. After: nothing differs, and a second run changes nothing."""
    assert fresh.run("migrate", "--create").exit_code == FINE
    before = fresh.run("diff", "--json")
    assert before.exit_code == NOT_FINE
    assert json.loads(before.stdout)["counts"] == {"missing": 5}
    done = fresh.run("sync", "--json")
    assert done.exit_code == FINE
    assert json.loads(done.stdout)["changed"] == {"users": 3, "organizations": 1, "memberships": 1}
    assert json.loads(fresh.run("sync", "--json").stdout)["changed"] == {
        "users": 0,
        "organizations": 0,
        "memberships": 0,
    }
    after = fresh.run("diff")
    assert (after.exit_code, after.stdout) == (FINE, "")
    assert "No differences" in after.stderr


def test_lost_webhooks_are_found_and_mended(synced: World) -> None:
    """What changed while nobody listened: a name, a role, a deletion, and somebody new."""
    clerk = synced.clerk
    ada, second, third = clerk.users.values()
    (acme,) = clerk.organizations.values()
    clerk.update_user(ada, first_name="Augusta")
    clerk.delete_user(third)
    clerk.add_member(acme, second, role="org:member")
    clerk.create_user(email="new@example.com")
    found = synced.run("diff")
    assert found.exit_code == NOT_FINE
    lines = {tuple(line.split()[:2]) for line in found.stdout.splitlines()}
    assert lines >= {("stale", "user"), ("extra", "user"), ("missing", "user"), ("missing", "membership")}
    assert f"{ada.id}  first_name" in found.stdout
    assert synced.run("sync", "--dry-run").stdout == found.stdout
    assert synced.run("sync").exit_code == FINE
    assert synced.run("diff").exit_code == FINE


def test_the_newest_alone_are_quick_to_be_had(synced: World) -> None:
    """`--newest` brings who is new, with one question for each list; and contradicts `--anew`."""
    synced.clerk.create_user(email="new@example.com")
    synced.clerk.api.requests.clear()
    assert json.loads(synced.run("sync", "--newest", "--json").stdout)["changed"]["users"] == 1
    assert len(synced.clerk.api.requests) == 3  # the three lists; whose key it is, the first sync has asked
    assert synced.run("sync", "--newest", "--anew").exit_code == USAGE
    assert synced.run("sync", "--most-departures", "2").exit_code == USAGE


def test_too_many_departures_are_held_back(tmp_path: Path) -> None:
    """It deletes nobody, says so with what to do, and does it once it is allowed."""
    clerk = FakeClerk(7)
    people = [clerk.create_user() for _ in range(15)]
    with world(clerk, tmp_path) as at:
        at.run("migrate", "--create")
        at.run("sync")
        for person in people[:12]:
            clerk.delete_user(person)
        held = at.run("sync")
        assert held.exit_code == NOT_FINE
        assert "12 rows are gone at Clerk" in held.stderr
        assert "--most-departures" in held.stderr
        allowed = at.run("sync", "--most-departures", "1", "--json")
        assert (allowed.exit_code, json.loads(allowed.stdout)["departed"]) == (FINE, 12)


def test_show_tells_from_where_and_why(synced: World) -> None:
    """By address, by Clerk id and by your own id; the role with its source; and what locks somebody out."""
    ada, second, third = synced.clerk.users.values()
    shown = synced.run("show", "ADA@example.com")
    assert shown.exit_code == FINE
    for part in (
        "admin: from public_metadata.role",
        "(verified)",
        "Clerk has sent the complete object",
        "of Acme as org:admin",
    ):
        assert part in shown.stdout
    (told,) = json.loads(synced.run("show", ada.id, "--json").stdout)
    assert synced.run("show", told["user"]["id"]).stdout.splitlines()[0] == f"user {told['user']['id']}"
    assert told["memberships"][0]["organization"]["name"] == "Acme"
    synced.clerk.ban(second)
    synced.clerk.delete_user(third)
    synced.run("sync")
    assert "locked out  banned" in synced.run("show", second.id).stdout
    assert "locked out  deleted" in synced.run("show", third.id).stdout
    nobody = synced.run("show", "nobody@example.com", "--json")
    assert (nobody.exit_code, nobody.stdout) == (NOT_FINE, "[]\n")


def test_what_strangers_call_themselves_does_nothing_to_a_terminal(fresh: World) -> None:
    """Control characters are shown as what they are."""
    nasty = fresh.clerk.create_user(first_name="\x1b]0;owned\x07\u202eeve\r\n")
    fresh.run("migrate", "--create")
    fresh.run("sync")
    token = fresh.clerk.token(nasty)
    for done in (fresh.run("show", nasty.id), fresh.run("show", nasty.id, "--json"), fresh.run("verify", token)):
        assert not set("\x1b\x07\u202e\r") & set(done.output)


def test_show_prints_a_membership_once(fresh: World) -> None:
    """A token has shown the membership before Clerk's complete object came: the complete one is printed."""
    (ada, *_), (acme,) = fresh.clerk.users.values(), fresh.clerk.organizations.values()
    assert fresh.run("migrate", "--create").exit_code == FINE
    path = fresh.environment["CLERKMAP_DATABASE_URL"].removeprefix("sqlite:///")
    with closing(SqliteRepository.open(path)) as repository:
        Resolver(fresh.clerk.instance, repository).resolve(fresh.clerk.token(ada, acme))
    assert fresh.run("show", ada.id).stdout.count("member      of") == 1
    assert fresh.run("sync").exit_code == FINE
    assert fresh.run("show", ada.id).stdout.count("member      of") == 1


def test_verify_tells_each_check_and_whom_it_stands_for(synced: World) -> None:
    """A good token, a bad one, and one of somebody locked out; from the arguments and from the standard input."""
    ada = next(iter(synced.clerk.users.values()))
    (acme,) = synced.clerk.organizations.values()
    token = synced.clerk.token(ada, acme)
    good = synced.run("verify", "-", say=token + "\n")
    assert good.exit_code == FINE
    assert "ada@example.com" in good.stdout
    assert "Acme as org:admin" in good.stdout
    assert token not in good.output
    told = json.loads(synced.run("verify", token, "--json").stdout)
    assert [check["passed"] for check in told["checks"]] == [True] * len(told["checks"])
    assert (told["first_sight"], told["principal"]["role"]) == (False, "org:admin")
    bad = synced.run("verify", token[:-8] + "AAAAAAAA")
    assert bad.exit_code == NOT_FINE
    assert "token_signature_invalid" in bad.stdout
    assert token.split(".")[2] not in bad.output
    alone = synced.run("verify", token, CLERKMAP_DATABASE_URL="")
    assert alone.exit_code == FINE
    assert "the token is valid" in alone.stdout
    synced.clerk.ban(ada)
    synced.run("sync")
    assert "user_banned" in synced.run("verify", token).stdout


def test_verify_writes_nothing(fresh: World, tmp_path: Path) -> None:
    """Whom nobody has seen before is unmade again."""
    fresh.run("migrate", "--create")
    ada = next(iter(fresh.clerk.users.values()))
    seen = fresh.run("verify", fresh.clerk.token(ada))
    assert seen.exit_code == FINE
    assert "This user is new" in seen.stderr
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        assert connection.execute("SELECT count(*) FROM clerkmap_users").fetchone() == (0,)


def test_everything_works_on_postgresql_too(fresh: World, postgres_schema: str) -> None:
    """The same commands, with a URL of another kind."""
    url = url_of_a_new_schema(postgres_schema)
    fresh.environment["CLERKMAP_DATABASE_URL"] = url
    assert "CREATE TABLE clerkmap_users" in fresh.run("migrate", "--dry-run").stdout
    assert fresh.run("diff").exit_code == CONFIGURATION
    assert "created at schema version" in fresh.run("migrate").stderr
    assert "already" in fresh.run("migrate").stderr
    ada = next(iter(fresh.clerk.users.values()))
    token = fresh.clerk.token(ada)
    assert json.loads(fresh.run("verify", token, "--json").stdout)["first_sight"] is True
    assert fresh.run("diff").exit_code == NOT_FINE
    assert fresh.run("sync").exit_code == FINE
    assert fresh.run("diff").exit_code == FINE
    assert json.loads(fresh.run("verify", token, "--json").stdout)["first_sight"] is False
    assert "ada@example.com (verified)" in fresh.run("show", "ada@example.com").stdout
    doctor = fresh.run("doctor")
    assert doctor.exit_code == FINE, doctor.output
    assert url not in doctor.output


FAILURES = [
    ("not a publishable key", ["diff"], {"CLERK_PUBLISHABLE_KEY": ""}, CONFIGURATION, "set CLERK_PUBLISHABLE_KEY"),
    ("not a secret key", ["sync"], {"CLERK_SECRET_KEY": ""}, CONFIGURATION, "CLERK_SECRET_KEY"),
    ("an unknown secret key", ["diff"], {"CLERK_SECRET_KEY": "sk_test_" + "c4n4ry" * 4}, CONFIGURATION, "dashboard"),
    ("no database", ["show", "x"], {"CLERKMAP_DATABASE_URL": ""}, CONFIGURATION, "--database"),
    ("another database", ["diff"], {"CLERKMAP_DATABASE_URL": "mysql://u:c4n4ry@h/d"}, CONFIGURATION, "postgresql://"),
    ("no port", ["diff"], {"CLERKMAP_DATABASE_URL": "postgresql://u:c4n4ry@h:x/d"}, CONFIGURATION, "cannot be read"),
    (
        "no user matches",
        ["sync"],
        {"CLERKMAP_DATABASE_URL": "postgresql://u:c4n4ry@127.0.0.1:1/d"},
        UNAVAILABLE,
        "listens",
    ),
    ("no API", ["diff", "--patience", "0"], {"CLERK_API_URL": "http://127.0.0.1:1"}, UNAVAILABLE, "doctor"),
    ("no token", ["verify"], {}, USAGE, "Missing argument"),
    ("no such command", ["dance"], {}, USAGE, "dance"),
    ("no such option", ["diff", "--wrong"], {}, USAGE, "--wrong"),
]


@pytest.mark.parametrize(("name", "arguments", "changes", "code", "said"), FAILURES, ids=[row[0] for row in FAILURES])
def test_what_cannot_be_done_is_one_line_that_says_what_to_do(
    synced: World, name: str, arguments: list[str], changes: dict[str, str], code: int, said: str
) -> None:
    """On the stream for talk, with the code that is promised, no traceback and no secret."""
    done = synced.run(*arguments, **changes)
    assert (done.exit_code, done.stdout) == (code, ""), done.output
    assert said in done.stderr
    assert "c4n4ry" not in done.output
    if code != USAGE:
        assert done.stderr.startswith("clerkmap: ")
        assert done.stderr.count("\n") == 1
        assert len(done.stderr) < 400


def test_the_key_of_another_instance_reads_and_writes_nothing(synced: World, tmp_path: Path) -> None:
    """Nobody is taken for gone."""
    other = FakeClerk(8)
    with world(other, tmp_path) as there:
        wrong = {"CLERK_SECRET_KEY": other.secret_key, "CLERK_API_URL": there.environment["CLERK_API_URL"]}
        done = synced.run("sync", **wrong)
    assert done.exit_code == CONFIGURATION
    assert "belongs to another instance" in done.stderr
    assert "from one environment" in done.stderr
    assert synced.run("diff").exit_code == FINE


def test_a_database_of_your_own_server_is_named_without_its_password(fresh: World) -> None:
    """Also where it is the server that refuses."""
    for url, said in (
        (f"{postgres().partition('?')[0].rpartition('/')[0]}/nowhere?{postgres().partition('?')[2]}", "no database of"),
        (postgres() + ("&" if "?" in postgres() else "?") + "user=nobody&password=c4n4ry", "no such user"),
    ):
        done = fresh.run("show", "x", CLERKMAP_DATABASE_URL=url)
        assert done.exit_code == UNAVAILABLE, done.output
        assert said in done.stderr
        assert "c4n4ry" not in done.output
