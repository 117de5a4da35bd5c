"""`clerkmap diff --cheap`, `--own-id` and `clerkmap sync --repair`, as cron and CI run them."""

import json

from clerkmap.cli.failures import CONFIGURATION, FINE, NOT_FINE, UNAVAILABLE
from clerkmap.testing import FakeClerk
from cli_world import World, fresh, synced

__all__ = ["fresh", "synced"]


def lose_a_day(world: World) -> None:
    """A name, a role, a deletion, and somebody new."""
    clerk = world.clerk
    ada, second, third = clerk.users.values()
    (acme,) = clerk.organizations.values()
    clerk.update_user(ada, first_name="Augusta")
    clerk.delete_user(third)
    clerk.add_member(acme, second, role="org:member")
    clerk.create_user(email="new@example.com")


def test_a_lost_day(synced: World) -> None:
    """Found by both looks, mended by a repair that says what it did; and then nothing differs."""
    for arguments in (["diff"], ["diff", "--cheap"]):
        assert synced.run(*arguments).exit_code == FINE
    lose_a_day(synced)
    cheap = synced.run("diff", "--cheap")
    assert cheap.exit_code == NOT_FINE
    assert "at least" in cheap.stderr
    assert "Not compared" in cheap.stderr
    assert json.loads(synced.run("diff", "--cheap", "--json").stdout)["cheap"] is True
    whole = synced.run("diff")
    assert "sync --repair" in whole.stderr
    assert synced.run("sync", "--repair", "--dry-run").stdout == whole.stdout
    done = synced.run("sync", "--repair")
    assert done.exit_code == FINE
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["extra", "1", "found"],
        ["missing", "2", "found"],
        ["stale", "1", "found"],
        ["users", "3", "compared", "2", "changed"],
        ["organizations", "1", "compared", "0", "changed"],
        ["memberships", "2", "compared", "1", "changed"],
        ["departures", "1", "found"],
    ]
    for arguments in (["diff"], ["diff", "--cheap"], ["sync", "--repair"]):
        again = synced.run(*arguments)
        assert again.exit_code == FINE
        assert "No difference" in again.stderr
    assert json.loads(synced.run("sync", "--repair", "--json").stdout)["found"] == {}


def test_a_cheap_look_in_a_cron_job_is_quick(synced: World) -> None:
    """Five questions; data on one stream, and an exit code for each end."""
    synced.clerk.api.requests.clear()
    done = synced.process("diff", "--cheap", "--json")
    assert (done.returncode, done.stderr) == (FINE, "")
    assert json.loads(done.stdout)["drift"] is False
    assert len(synced.clerk.api.requests) == 5
    unreachable = {"CLERK_API_URL": "http://127.0.0.1:1"}
    assert synced.run("diff", "--cheap", "--patience", "0", **unreachable).exit_code == UNAVAILABLE
    other = {"CLERK_JWT_KEY": FakeClerk(8).key.pem()}
    for arguments in (["diff", "--cheap"], ["sync", "--repair", "--most-departures", "1"]):
        assert synced.run(*arguments, **other).exit_code == CONFIGURATION
    assert synced.run("diff").exit_code == FINE


def test_too_many_departures_are_held_back_by_a_repair_too(synced: World) -> None:
    """It deletes nobody, says so, and ends with another code."""
    clerk = synced.clerk
    people = [clerk.create_user() for _ in range(12)]
    assert synced.run("sync", "--repair").exit_code == FINE
    for person in people:
        clerk.delete_user(person)
    held = synced.run("sync", "--repair")
    assert held.exit_code == NOT_FINE
    assert "12 rows are gone at Clerk" in held.stderr
    assert synced.run("sync", "--repair", "--most-departures", "1").exit_code == FINE
    assert synced.run("diff").exit_code == FINE


def test_wrong_links(synced: World) -> None:
    """By external id, and by a name in the metadata; whoever is tied wrongly is told, and stays as they are."""
    clerk = synced.clerk
    ada, second, _ = clerk.users.values()
    (found,) = json.loads(synced.run("show", second.id, "--json").stdout)
    clerk.update_user(ada, external_id="somebody")
    clerk.merge_metadata(ada, public_metadata={"userId": 7})
    clerk.update_user(second, external_id=found["user"]["id"])
    assert synced.run("sync").exit_code == FINE
    for name in ("external_id", "userId"):
        told = synced.run("diff", "--own-id", name)
        assert (told.exit_code, told.stdout) == (NOT_FINE, f"link     user         {ada.id}\n")
        assert "only you know" in told.stderr
        assert "sync" not in told.stderr
    assert synced.run("sync", "--repair").exit_code == FINE
    assert synced.run("diff", "--own-id", "nothing").exit_code == FINE
