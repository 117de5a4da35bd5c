"""An app of one's own beside it: started with the variables that are printed, it takes webhooks and tokens."""

import json
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from clerkmap import Instance, Reconciler, Resolver
from clerkmap.adapters.asgi import WebhookEndpoint
from clerkmap.repositories import MemoryRepository
from local_process import PATIENCE, Json, Local, command, environment, kinds, messages, run
from uvicorn_server import serving

pytestmark = pytest.mark.slow


@contextmanager
def forwarding(folder: Path, app: Any, path: str = "/webhooks/clerk") -> Iterator[Local]:
    """The server, with an app of one's own to forward to."""
    with serving(app) as (host, port), Local(folder, "--forward", f"http://{host}:{port}{path}") as local:
        yield local


class Odd:
    """An app that answers as it is told to."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b"yes"
        self.taken: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        while (await receive()).get("more_body"):
            pass
        self.taken.append(scope["path"])
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


class Late:
    """An application that is put together once it is known what Clerk it is to believe."""

    app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self.app(scope, receive, send)


def test_an_app_started_with_the_variables_takes_webhooks_and_tokens(tmp_path: Path) -> None:
    """They are all it is told; and what came of each delivery there is shown beside what came of it in the demo app."""
    late = Late()
    with forwarding(tmp_path, late) as local:
        instance = Instance.from_env(local.environment)
        repository = MemoryRepository()
        late.app = WebhookEndpoint(Reconciler(instance, repository))
        user = local.sign_up()
        (event,) = messages(local.settle(), "user.created")
        assert [(each["to"], each["kind"]) for each in event["outcomes"]] == [
            ("demo", "applied"),
            (local.state()["forward"], "applied"),
        ]
        local.do("duplicate", message=event["id"])
        (event,) = messages(local.state(), "user.created")
        assert kinds(event) == ["applied", "applied", "nothing_new", "nothing_new"]
        principal = Resolver(instance, repository).resolve(local.do("sign_in", user=user)["token"])
        assert (principal.user.email, principal.claims.party) == ("ada@example.com", local_origin(local))

        # The deliveries are signed by the real clock, in whole seconds, and no event counts as later than its delivery.
        second = int(time.time())
        while int(time.time()) == second:
            time.sleep(0.01)
        local.do("advance", seconds=3600)
        local.do("edit_user", user=user, first_name="Augusta")
        (event,) = messages(local.settle(), "user.updated")
        assert kinds(event) == ["applied", "applied"]


def local_origin(local: Local) -> str:
    """The origin of the app that is forwarded to."""
    forward: str = local.state()["forward"]
    return forward.removesuffix("/webhooks/clerk")


def test_what_an_app_answers_decides_whether_it_is_tried_again(tmp_path: Path) -> None:
    """Whatever is not 2xx is a failure: a redirection, too, which is not followed."""
    odd = Odd()
    with forwarding(tmp_path, odd, "/hook?x=1") as local:
        now = local.state()
        for status, headers in ((500, []), (302, [(b"location", b"/elsewhere")]), (410, [])):
            odd.status, odd.headers = status, headers
            local.sign_up(f"Person{status}")
            now = local.wait(lambda now: len(now["wire"]["messages"][0]["outcomes"]) == 2)
            event = now["wire"]["messages"][0]
            assert (event["state"], event["attempts"][0]["status"]) == ("waiting", status)
            assert event["outcomes"][1]["reason"] == f"answered {status}"
            local.do("drop", message=event["id"])
        odd.headers = []
        for body, kind in (
            (b"", "applied"),
            (b"[]", "applied"),
            (b'{"outcome": "nothing_new", "reason": 7}', "nothing_new"),
            (b'{"outcome": "odd"}', "applied"),
            (b"x" * 200_000, "applied"),
        ):
            odd.status, odd.body = 200, body
            local.do("edit_user", user=now["clerk"]["users"][0]["id"], last_name=str(len(body)))
            event = local.settle()["wire"]["messages"][0]
            assert (event["state"], event["outcomes"][1]["kind"]) == ("delivered", kind)
        assert set(odd.taken) == {"/hook"}


def test_an_app_that_is_not_there_is_tried_again_when_it_is(tmp_path: Path) -> None:
    """The demo app has the event meanwhile."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with Local(tmp_path, "--forward", f"http://127.0.0.1:{port}/") as local:
        local.sign_up()
        now = local.wait(lambda now: len(now["wire"]["messages"][0]["attempts"]) == 1)
        event = now["wire"]["messages"][0]
        assert (event["attempts"][0]["status"], kinds(event)) == (None, ["applied", "refused"])
        assert event["outcomes"][1]["reason"] == "no response (ConnectError)"


@pytest.mark.parametrize(
    "url",
    [
        *("localhost:8000", "ftp://localhost/", "file:///etc/passwd", "http://", "http://[x/", ""),
        *("http://localhost:99999/", "http://xn--a.example/"),
    ],
)
def test_only_an_address_can_be_forwarded_to(tmp_path: Path, url: str) -> None:
    """What is none is refused at the start, in words."""
    done = run(tmp_path, "--forward", url)
    assert done.returncode == 2
    assert "--forward" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_variables_are_printed_ready_for_a_shell(tmp_path: Path) -> None:
    """Pasted into one, they are what the page shows; and without an app of one's own they are not printed."""
    asked = command("--forward", "http://localhost:1/hook?a=1&b='2'")
    with subprocess.Popen(asked, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        text = ""
        while "CLERK_API_URL" not in text:
            line = process.stdout.readline()
            assert line, text
            text += line
        process.send_signal(signal.SIGINT)
        text += process.stdout.read()
        assert process.wait(PATIENCE) == 0
    exports = [line for line in text.splitlines() if line.startswith("export ")]
    script = "\n".join([*exports, "env -0"])
    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=True)
    found: Json = dict(pair.split("=", 1) for pair in shown.stdout.split("\0") if pair)
    names = ["CLERK_PUBLISHABLE_KEY", "CLERK_SECRET_KEY", "CLERK_JWT_KEY", "CLERK_WEBHOOK_SIGNING_SECRET"]
    assert [shlex.split(line)[1].partition("=")[0] for line in exports] == [*names, "CLERK_API_URL"]
    assert found["CLERK_API_URL"].startswith("http://127.0.0.1:")
    Instance.from_env(found)

    with Local(tmp_path, "--db", "other.db") as local:
        assert set(local.environment) == {*names, "CLERK_API_URL"}
        assert json.dumps(local.environment) == json.dumps(local.state()["clerk"]["environment"])
