"""What is there is there again after a restart, however it ended, and what is damaged is not guessed at."""

import json
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from clerkmap.auth.verifier import Verifier
from clerkmap.core.instance import Instance
from clerkmap.local.clerk import LocalClerk
from clerkmap.local.instance import Box
from clerkmap.local.state import StateDamaged, StateFile, StateNotKept
from local_process import Json, Local, kinds, rows, run

pytestmark = pytest.mark.slow

STATE = "clerkmap-dev.db.clerk.json"


def without(snapshot: Json) -> Json:
    """A snapshot without what differs from one start to the next."""
    environment = snapshot["clerk"]["environment"] | {"CLERK_API_URL": ""}
    return snapshot | {"clerk": snapshot["clerk"] | {"clock": 0, "environment": environment}}


def test_everything_is_there_again_after_a_restart(tmp_path: Path) -> None:
    """People, sessions, events with what came of them, chaos, the clock, the keys, and the rows."""
    with Local(tmp_path) as local:
        ada = local.sign_up("Ada")
        acme = local.do("create_organization", name="Acme", created_by=ada)["organization"]
        local.do("invite", organization=acme, email="grace@example.com")
        local.do("rotate_key")
        local.do("advance", seconds=86_400)
        local.settle()
        local.do("chaos", hold_all=True, delay=0.5)
        token = local.do("sign_in", user=ada, organization=acme)["token"]
        before = local.state()
    with Local(tmp_path) as local:
        now = local.state()
        assert without(now) == without(before)
        assert now["clerk"]["clock"] >= before["clerk"]["clock"]
        assert local.do("look", token=token)["principal"]["user"]["clerk_id"] == ada
        assert local.sign_up("Grace") != ada
        assert local.refused("sign_up", email="ada@example.com") == (422, "form_identifier_exists")
        assert local.do("deliver")["released"] > 1
        local.wait(lambda now: len(rows(now, "users")) == 2)


def test_an_event_that_waits_is_attempted_after_the_restart(tmp_path: Path) -> None:
    """At its time."""
    with Local(tmp_path) as local:
        local.do("chaos", offline=True)
        local.sign_up()
        local.wait(lambda now: len(now["wire"]["messages"][0]["attempts"]) == 1)
    with Local(tmp_path) as local:
        local.do("chaos", offline=False)
        (before,) = local.state()["wire"]["messages"]
        local.do("advance", seconds=(before["due"] - local.state()["clerk"]["clock"]) / 1000 + 1)
        event = local.settle()["wire"]["messages"][0]
        assert (event["state"], kinds(event)) == ("delivered", ["applied"])
        assert len(event["attempts"]) == len(before["attempts"]) + 1  # on a slow machine, the second was made before


@pytest.mark.parametrize("round", range(2))
def test_what_was_answered_survives_a_kill_in_the_middle_of_writing(tmp_path: Path, round: int) -> None:
    """Whoever was told that they signed up is there again, with their row; and there is no half of a file."""
    answered: list[str] = []
    with Local(tmp_path) as local:

        def sign_up() -> None:
            with httpx.Client(base_url=local.address, timeout=120) as client:
                try:
                    while True:
                        asked = {"action": "sign_up", "first_name": f"Person {len(answered)}"}
                        answered.append(client.post("/do", json=asked).json()["user"])
                except httpx.HTTPError:
                    pass

        thread = threading.Thread(target=sign_up)
        thread.start()
        local.wait(lambda now: len(now["clerk"]["users"]) > 5 * (round + 1))
        assert local.end(signal.SIGKILL) == -signal.SIGKILL
        thread.join()
    with Local(tmp_path) as local:
        now = local.settle()
        known = [each["id"] for each in now["clerk"]["users"]]
        assert known[: len(answered)] == answered
        assert {each["clerk_id"] for each in rows(now, "identities")} == set(known)
        assert local.sign_up("Ada") not in known
    assert not list(tmp_path.glob("*.new"))


def test_a_state_can_be_kept_elsewhere(tmp_path: Path) -> None:
    """In the file that is named, where nobody else can read it."""
    with Local(tmp_path, "--state", "mine.json") as local:
        local.sign_up()
    assert not (tmp_path / STATE).exists()
    assert (tmp_path / "mine.json").stat().st_mode & 0o077 == 0
    with Local(tmp_path, "--state", "mine.json") as local:
        assert len(local.state()["clerk"]["users"]) == 1


def test_rows_of_a_clerk_that_is_gone_are_nobody_elses(tmp_path: Path) -> None:
    """The same seed would make the same ids. Without its state another is taken, unless one is asked for."""
    with Local(tmp_path) as local:
        first = local.sign_up()
        local.settle()
        issuer = local.state()["clerk"]["issuer"]
    (tmp_path / STATE).unlink()
    done = run(tmp_path, "--seed", "1")
    assert done.returncode == 1
    assert "has rows of the seed 1" in done.stderr
    with Local(tmp_path) as local:
        assert local.state()["clerk"]["issuer"] != issuer
        assert local.sign_up() != first
        assert len(rows(local.settle(), "users")) == 2
        local.do("reset")
        assert [each["clerk_id"] for each in rows(local.state(), "identities")] == [first]
    done = run(tmp_path, "--seed", "7")
    assert "its seed is 2, and --seed is 7" in done.stderr


def kept(folder: Path) -> Json:
    """A state with something of everything in it."""
    clerk = LocalClerk(3)
    ada = clerk.create_user("ada@example.com", public_metadata={"a": [1, None]})
    acme = clerk.create_organization(created_by=ada)
    clerk.invite(acme, "grace@example.com")
    clerk.sign_in(ada, acme, actor={"sub": "user_support"})
    clerk.create_api_key(ada)
    clerk.create_role("org:editor", permissions=["org:invoices:read"])
    clerk.rotate_key(keep_for=1000)
    clerk.rotate_webhook_secret()
    clerk.rotate_key()
    clerk.wire.attempt(clerk.wire.due()[0], lambda headers, body: 500)
    clerk.wire.hold(clerk.wire.due()[0])
    StateFile(folder / "state.json").write(clerk.saved() | {"chaos": {}, "outcomes": {}})
    state: Json = json.loads((folder / "state.json").read_text())
    return state


def test_what_was_put_away_does_next_what_it_would_have_done(tmp_path: Path) -> None:
    """The same ids, tokens, keys, secrets and accidents as without."""
    saved = kept(tmp_path)
    clerks = [LocalClerk(3), LocalClerk(3)]
    clerks[0].restore(saved)
    clerks[1].restore(json.loads(json.dumps(clerks[0].saved())))
    assert clerks[0].saved() == clerks[1].saved()
    assert clerks[0].jwks() == clerks[1].jwks()
    assert len(clerks[0].jwks()["keys"]) == 2

    def does(clerk: LocalClerk) -> list[Any]:
        user = clerk.create_user("alan@example.com")
        clerk.rotate_key()
        clerk.rotate_webhook_secret()
        key, secret = clerk.key.pem(), clerk.webhook_secret
        return [user.id, key, secret, len(clerk.wire.secrets), clerk.chance.random(), list(clerk.wire.messages)]

    assert does(clerks[0]) == does(clerks[1])


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "[" * 100_000,
        lambda text: text.replace('"version": 1', '"version": 2'),
        lambda text: text.replace('"seed": 3', '"seed": "3"'),
        lambda text: text.replace('"users": [{', '"users": [{"hat": 1, '),
        lambda text: text.replace('"first_name": null', '"first_name": 7'),
        lambda text: text.replace('"banned": false', '"banned": 0'),
        lambda text: text.replace('"users": [', '"people": ['),
        lambda text: text.replace('"organizations": [', '"organizations": 1, "companies": ['),
        lambda text: text.replace('"user_id": "user_', '"user_id": "usher_'),
        lambda text: text.replace('"state": "held"', '"state": "lost"'),
        lambda text: text.replace('"random": [[3, ', '"random": [[3, [], '),
        lambda text: text.replace('"chaos": {', '"chaos": {"rain": true'),
        lambda text: text.replace('"clock": 0', '"clock": "noon"'),
        lambda text: "\udcff" + text,
    ],
)
def test_a_damaged_state_is_refused_and_left_alone(tmp_path: Path, damage: Any) -> None:
    """In words that say what to do; nothing is begun anew over it."""
    text = json.dumps(kept(tmp_path))
    damaged = damage(text)
    assert damaged != text
    path = tmp_path / "state.json"
    path.write_bytes(damaged.encode("utf-8", "surrogateescape"))
    with pytest.raises(StateDamaged, match=r"state\.json cannot be used: .* move the file away to start"):
        Box(tmp_path / "app.db", state=StateFile(path))
    assert path.read_bytes() == damaged.encode("utf-8", "surrogateescape")


def test_a_state_is_written_only_when_it_is_another(tmp_path: Path) -> None:
    """And nothing is left beside it."""
    file = StateFile(tmp_path / "state.json")
    assert file.read() is None
    file.write({"a": 1})
    before = file.path.stat().st_ino
    file.write({"a": 1})
    assert file.path.stat().st_ino == before
    file.write({"a": 2})
    assert StateFile(file.path).read() == {"version": 1, "a": 2}
    assert list(tmp_path.iterdir()) == [file.path]
    file.path.unlink()
    file.path.mkdir()
    done = run(tmp_path, "--state", "state.json")
    assert (done.returncode, done.stderr.splitlines()[0][:7]) == (1, "Error: ")
    assert "state.json cannot be used" in done.stderr
    with pytest.raises(StateDamaged, match="it cannot be read"):
        file.read()
    with pytest.raises(StateNotKept, match="irectory"):
        file.write({"a": 3})
    assert not list(tmp_path.glob("*.new"))


def test_a_key_that_is_still_published_is_so_after_a_restart(tmp_path: Path) -> None:
    """A token that was signed with it is good there too."""
    clerk = LocalClerk(5)
    token = clerk.token(clerk.create_user())
    clerk.rotate_key(kid="ins_new", keep_for=1000)
    again = LocalClerk(5)
    again.restore(json.loads(json.dumps(clerk.saved())))
    instance: Instance = again.make_instance()
    assert Verifier(instance).verify(token).subject in again.users
