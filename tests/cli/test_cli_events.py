"""`clerkmap replay` and `clerkmap webhooks send`: events out of files, and samples to an endpoint."""

import asyncio
import gzip
import json
import tracemalloc
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clerkmap import Reconciler
from clerkmap.adapters.asgi import WebhookEndpoint
from clerkmap.cli.failures import CONFIGURATION, FINE, NOT_FINE, USAGE
from clerkmap.cli.sample_webhooks import samples
from clerkmap.cli.webhooks import TYPES
from clerkmap.core.events import parse_event
from clerkmap.repositories import MemoryRepository
from clerkmap.sync.import_file import MAX_ROW
from clerkmap.testing import FakeClerk
from cli_world import World, fresh, synced
from uvicorn_server import serving

__all__ = ["fresh", "synced"]


def bodies(at: World) -> list[dict[str, Any]]:
    """All that Clerk has said until now."""
    return [json.loads(message.body) for message in at.clerk.wire.messages.values()]


def listened(at: World) -> str:
    """The same as `clerk webhooks listen --json` writes it, with what it says of itself in between."""
    lines: list[dict[str, Any]] = [{"type": "ready", "relay_url": "https://example.com/in/c_x/", "forward_to": "x"}]
    for body in bodies(at):
        told = {"svix_id": "msg_1", "event_type": body["type"], "headers": {"svix-id": "msg_1"}, "forward_status": None}
        lines.append({"type": "event", **told, "body_b64": b64encode(json.dumps(body).encode()).decode()})
    lines.insert(2, {"type": "reconnecting"})
    return "".join(json.dumps(line) + "\n" for line in lines)


FORMS: dict[str, Callable[[World], str]] = {
    "as clerk writes them": listened,
    "one a line": lambda at: "\r\n\n".join(json.dumps(body) for body in bodies(at)),
    "backwards": lambda at: "\n".join(json.dumps(body) for body in reversed(bodies(at))),
    "an array": lambda at: json.dumps(bodies(at)),
    "an array over lines": lambda at: "\n" + json.dumps(bodies(at), indent=2),
    "an array to a line": lambda at: "\n".join(json.dumps([body, body]) for body in bodies(at)),
    "each over lines": lambda at: "\n".join(json.dumps(body, indent=2) for body in bodies(at)),
}


@pytest.mark.parametrize("form", FORMS)
def test_whatever_form_events_have_they_end_in_the_same(fresh: World, tmp_path: Path, form: str) -> None:
    """Applied once; the second time there is nothing new, and Clerk and the database say the same."""
    fresh.run("migrate", "--create")
    (tmp_path / "events").write_text(FORMS[form](fresh))
    first = fresh.run("replay", str(tmp_path / "events"), "--json")
    assert first.exit_code == FINE, first.output
    told = json.loads(first.stdout)
    assert told["applied"] >= 3
    assert (told["ignored"], told["unreadable"], told["unreadable_lines"]) == (0, 0, [])
    assert fresh.run("diff").exit_code == FINE
    assert fresh.run("sync", "--from", str(tmp_path / "events")).exit_code == FINE
    again = json.loads(fresh.run("replay", "-", "--json", say=FORMS[form](fresh)).stdout)
    assert (again["applied"], again["nothing_new"]) == (0, told["applied"] + told["nothing_new"])


def test_one_event_over_several_lines_is_one(fresh: World) -> None:
    """As somebody has copied it from the dashboard."""
    fresh.run("migrate", "--create")
    done = fresh.run("replay", "-", "--json", say=json.dumps(bodies(fresh)[0], indent=2))
    assert (done.exit_code, json.loads(done.stdout)["applied"]) == (FINE, 1)


def test_what_cannot_be_read_is_told_by_its_line(fresh: World, tmp_path: Path) -> None:
    """Never by what it says; and everything else is applied all the same."""
    fresh.run("migrate", "--create")
    user, *_ = bodies(fresh)
    nobody = {**user, "data": {**user["data"], "id": "c4n4ry"}}
    lines = [
        json.dumps(user)[:-9] + "c4n4ry",
        json.dumps(user),
        "c4n4ry" * (MAX_ROW // 6 + 1),
        '{"body_b64": "c4n4ry!"}',
        '{"body_b64": 7}',
        json.dumps([user, "c4n4ry"]),
        json.dumps(nobody),
        json.dumps({**user, "type": "email.created"}),
        "[" * 100_000,
        "null",
        '{"type": "event"}',
        "\udcff\udcfe",
        json.dumps(user),
    ]
    (tmp_path / "events").write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    done = fresh.run("replay", str(tmp_path / "events"), "--json")
    assert done.exit_code == NOT_FINE
    told = json.loads(done.stdout)
    reasons = told.pop("unreadable_reasons")
    assert reasons["4"] == "body_b64 must be base64"
    assert reasons["11"].startswith("it is not an event")
    assert reasons["7"].startswith("id must be a Clerk id that begins with user_")
    assert [int(line) for line in reasons] == told["unreadable_lines"]
    assert told == {
        "applied": 1,
        "nothing_new": 1,
        "ignored": 1,
        "unreadable": 10,
        "unreadable_lines": [1, 3, 4, 5, 6, 7, 9, 10, 11, 12],
    }
    plain = fresh.run("replay", str(tmp_path / "events"))
    assert plain.exit_code == NOT_FINE
    assert "cannot be read: line 4: body_b64 must be base64" in plain.stderr
    assert "c4n4ry" not in done.output + plain.output


def test_a_dry_run_of_a_replay_needs_no_database(fresh: World) -> None:
    """It reads, and tells what the file holds."""
    done = fresh.run("replay", "-", "--dry-run", "--json", say=listened(fresh), CLERKMAP_DATABASE_URL="")
    assert (done.exit_code, json.loads(done.stdout)["readable"]) == (FINE, 5)
    assert fresh.run("replay", "/nowhere").exit_code == USAGE
    assert fresh.run("replay", "-", say="", CLERKMAP_DATABASE_URL="").exit_code == CONFIGURATION


def test_a_person_sees_how_far_a_replay_is(fresh: World, tmp_path: Path) -> None:
    """In a terminal; and who interrupts it keeps what was applied."""
    fresh.run("migrate", "--create")
    (tmp_path / "events").write_text(listened(fresh))
    at = fresh.terminal("replay", str(tmp_path / "events"))
    assert at.end() == FINE
    assert "file" in at.seen
    assert "applied" in at.seen
    assert "\x1b[" in at.seen
    plain = fresh.process("replay", "-", say=listened(fresh))
    counts = ["applied", "0", "nothing", "new", "5", "ignored", "0", "unreadable", "0"]
    assert plain.stdout.split() == counts
    assert plain.stderr == ""


class Endpoint:
    """An endpoint for webhooks, served, that keeps what it is sent. `status` is answered in its place."""

    def __init__(self) -> None:
        self.clerk = FakeClerk(3)
        self.repository = MemoryRepository()
        self.page = WebhookEndpoint(Reconciler(self.clerk.instance, self.repository))
        self.status: int | None = None
        self.ids: list[str] = []
        self.address = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.ids += [value.decode() for name, value in scope["headers"] if name == b"svix-id"]
        if self.status is None:
            await self.page(scope, receive, send)
            return
        await asyncio.sleep(0)
        location = [(b"location", self.address.encode())] if self.status == 307 else []
        await send({"type": "http.response.start", "status": self.status, "headers": location})
        await send({"type": "http.response.body", "body": b'{"code": "\x1b[31mred"}'})


@pytest.fixture
def endpoint(fresh: World) -> Iterator[Endpoint]:
    """One whose secret is in the environment."""
    made = Endpoint()
    fresh.environment["CLERK_WEBHOOK_SIGNING_SECRET"] = f"{made.clerk.webhook_secret}, whsec_{'A' * 32}"
    with serving(made) as (host, port):
        made.address = f"http://{host}:{port}/webhooks/clerk"
        yield made


def test_each_sample_is_taken_in(fresh: World, endpoint: Endpoint) -> None:
    """Of every type; what is kept is made, and a deletion ends it. Another seed is somebody else."""
    assert set(samples(0)) == set(TYPES)
    for type, event in samples(0).items():
        assert parse_event(json.dumps(event)).records("here") or "Invitation" in type
    for type in TYPES:
        done = fresh.run("webhooks", "send", type, "--to", endpoint.address)
        assert done.exit_code == FINE, done.output
        outcome = "ignored" if "Invitation" in type else ""
        assert f"200  accepted: {outcome}" in done.stdout
    count = endpoint.repository.counts(endpoint.clerk.instance.name)["user"]
    assert (count.alive, count.deleted) == (0, 1)
    fresh.run("webhooks", "send", "user.created", "--to", endpoint.address, "--seed", "1")
    assert endpoint.repository.counts(endpoint.clerk.instance.name)["user"].alive == 1


def test_a_delivery_can_come_twice_and_say_what_you_like(fresh: World, endpoint: Endpoint, tmp_path: Path) -> None:
    """With an id of your choice, and the data of a file: of an event, or all of it."""
    arguments = ["webhooks", "send", "user.created", "--to", endpoint.address]
    done = fresh.run(*arguments, "--times", "2", "--id", "msg_mine", "--json")
    assert [each["told"] for each in json.loads(done.stdout)["attempts"]] == [
        "accepted: applied",
        "accepted: nothing_new",
    ]
    assert endpoint.ids == ["msg_mine", "msg_mine"]
    (tmp_path / "data").write_text('{"id": "user_own", "first_name": "Own"}')
    assert fresh.run(*arguments, "--data", str(tmp_path / "data")).exit_code == FINE
    assert endpoint.repository.users("user_own").items[0].name == "Own"
    (tmp_path / "event").write_text(json.dumps(samples(5)["user.created"]))
    assert "accepted: applied" in fresh.run(*arguments, "--data", str(tmp_path / "event")).stdout
    (tmp_path / "other").write_text(json.dumps(samples(5)["user.deleted"]))
    assert fresh.run(*arguments, "--data", str(tmp_path / "other")).exit_code == USAGE
    assert fresh.run(*arguments, "--data", "-", say="[]").exit_code == USAGE
    assert len(endpoint.ids) == 4


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (307, "Clerk does not follow"),
        (400, "wrong signing secret"),
        (401, "signed-in"),
        (403, "CSRF token"),
        (404, "no endpoint at this address"),
        (405, "does not accept POST"),
        (418, "refused"),
        (500, "retry the delivery"),
        (503, "retry the delivery"),
    ],
)
def test_an_answer_is_told_with_its_meaning(fresh: World, endpoint: Endpoint, status: int, meaning: str) -> None:
    """Nothing is followed, and nothing that it says does anything to a terminal."""
    endpoint.status = status
    done = fresh.run("webhooks", "send", "user.created", "--to", endpoint.address)
    assert done.exit_code == NOT_FINE
    assert f"{status}  " in done.stdout
    assert meaning in done.stdout
    assert len(endpoint.ids) == 1
    assert "\x1b" not in done.output


def test_a_secret_that_is_another_ones_is_refused_there_and_told_nowhere(fresh: World, endpoint: Endpoint) -> None:
    """Nor may it be missing, or cut off; and where nobody listens there is no answer."""
    arguments = ["webhooks", "send", "user.created", "--to", endpoint.address]
    secret = "whsec_" + b64encode(b"c4n4ry" * 5).decode()
    done = fresh.run(*arguments, CLERK_WEBHOOK_SIGNING_SECRET=secret)
    assert done.exit_code == NOT_FINE
    assert "webhook_signature_invalid" in done.stdout
    assert secret not in done.output
    for broken in ("", " , ", "whsec_c4n4ry"):
        done = fresh.run(*arguments, CLERK_WEBHOOK_SIGNING_SECRET=broken)
        assert (done.exit_code, done.stdout) == (CONFIGURATION, "")
        assert "c4n4ry" not in done.output
    nobody = fresh.run("webhooks", "send", "user.created", "--to", "http://127.0.0.1:1/x")
    assert nobody.exit_code == NOT_FINE
    assert "no response" in nobody.stdout
    for wrong in ("localhost:8000", "ftp://x/y", "http://"):
        assert fresh.run("webhooks", "send", "user.created", "--to", wrong).exit_code == USAGE
    assert fresh.run("webhooks", "send", "user.danced", "--to", endpoint.address).exit_code == USAGE


def test_an_answer_that_is_packed_a_thousandfold_is_not_unpacked(fresh: World) -> None:
    """Twice packed, a few bytes would be more than any memory holds."""
    packed = gzip.compress(gzip.compress(b"[" * 30_000_000))

    async def page(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-encoding", b"gzip, gzip"), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": packed})

    fresh.environment["CLERK_WEBHOOK_SIGNING_SECRET"] = FakeClerk(3).webhook_secret
    with serving(page) as (host, port):
        tracemalloc.start()
        try:
            done = fresh.run("webhooks", "send", "user.created", "--to", f"http://{host}:{port}/")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert (done.exit_code, "accepted" in done.stdout) == (FINE, True)
    assert peak < 25_000_000
