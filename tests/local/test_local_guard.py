"""Who may talk to the server on localhost, and how the page listens to it."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from clerkmap.local.origin_guard import OriginGuard, Stranger
from local_process import PATIENCE, Json, Local
from local_process import local as local
from local_process import process as process


def port_of(local: Local) -> int:
    return int(local.address.rpartition(":")[2])


PATHS = ["/", "/page/page.js", "/state", "/live", "/do", "/demo/me", "/v1/users", "/.well-known/jwks.json", "/nothing"]


@pytest.mark.parametrize("path", PATHS)
def test_a_name_that_was_made_to_lead_here_is_refused(local: Local, path: str) -> None:
    """A page of a stranger whose host resolves to this machine names that host, and gets nothing."""
    port = port_of(local)
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "localhost",
        f"localhost:{port + 1}",
        f"localhost.:{port}",
        "",
    ):
        answer = local.client.request("POST" if path == "/do" else "GET", path, headers={"host": host})
        assert answer.status_code == 403, host
        assert answer.json()["error"]["code"] == "host_refused"


def test_this_machine_may_be_called_by_each_of_its_names(local: Local) -> None:
    """As people type them."""
    port = port_of(local)
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", f"LOCALHOST:{port}"):
        assert local.client.get("/state", headers={"host": host}).status_code == 200, host


@pytest.mark.parametrize("path", PATHS)
def test_the_page_of_somebody_else_is_refused(local: Local, path: str) -> None:
    """It says in `Origin` where it comes from, also where it says that it comes from nowhere."""
    port = port_of(local)
    origins = [
        "null",
        "http://evil.example",
        f"https://127.0.0.1:{port}",
        "http://127.0.0.1",
        f"http://[::1]:{port + 1}",
    ]
    for origin in origins:
        answer = local.client.request("POST" if path == "/do" else "GET", path, headers={"origin": origin})
        assert answer.status_code == 403, origin
        assert "access-control-allow-origin" not in answer.headers


def test_no_page_of_somebody_else_is_ever_told_that_it_may(local: Local) -> None:
    """A browser asks first, and no answer says yes."""
    for origin in ("http://evil.example", local.address):
        asked = {"origin": origin, "access-control-request-method": "POST", "content-type": "application/json"}
        answer = local.client.options("/do", headers=asked)
        assert answer.status_code in (403, 405)
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_to_do_something_takes_json_of_a_reasonable_size(local: Local) -> None:
    """What a form of a stranger's can send is not JSON; and nobody fills the memory."""
    body = b'{"action": "sign_up"}'

    def status(body: bytes, **headers: str) -> int:
        return local.client.post(
            "/do", content=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
        ).status_code

    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""):
        assert status(body, content_type=kind) == 415
    assert local.client.post("/do", content=body).status_code == 415
    assert status(body, content_type="application/json; charset=utf-8", origin=local.address) == 200
    assert status(b'{"action": "' + b"x" * 65_536 + b'"}', content_type="application/json") == 413
    for odd in (b"", b"[]", b"{", b'{"a": NaN}', b'{"a": "\\ud800"}', b'{"a": 1, "a": 2}', b"\xff", b'{"a":' * 9999):
        assert status(odd, content_type="application/json") == 400, odd[:20]
    assert local.client.get("/do").status_code == 405
    assert local.client.post("/state", json={}).status_code == 405
    local.do("reset")


def test_a_body_that_is_too_long_is_not_read_to_its_end(local: Local) -> None:
    """Also where nobody says how long it is."""

    def pieces() -> Iterator[bytes]:
        yield from [b"x" * 1000] * 100

    headers = {"content-type": "application/json"}
    assert local.client.post("/do", content=pieces(), headers=headers).status_code == 413


def test_a_length_in_other_digits_is_none() -> None:
    """Some characters are digits and no numbers. Not every server refuses them itself."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"\xb2")]
    with pytest.raises(Stranger):
        OriginGuard(80).check_asked({"headers": headers})


def test_two_hosts_are_none(local: Local) -> None:
    """A request that names two is refused, by the server or by us."""
    with closing(socket.create_connection(("127.0.0.1", port_of(local)), PATIENCE)) as connection:
        host = local.address.removeprefix("http://")
        connection.sendall(f"GET /state HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n\r\n".encode())
        assert connection.recv(12)[9:10] == b"4"


def test_only_files_of_the_page_are_sent(local: Local) -> None:
    """With a policy that lets nothing in from anywhere else."""
    page = local.client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    for part in ("default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"):
        assert part in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["cross-origin-resource-policy"] == "same-origin"
    assert page.headers["cache-control"] == "no-store"
    assert local.client.get("/page/page.js").headers["content-type"] == "text/javascript; charset=utf-8"
    for path in (
        "/page/",
        "/page/../app.py",
        "/page/%2e%2e/app.py",
        "/page/__init__.py",
        "/page/..%2fapp.py",
        "/app.py",
    ):
        answer = local.client.get(path)
        assert "import" not in answer.text, path
        assert answer.status_code != 200 or answer.headers["content-type"] == "application/json", path


def next_state(lines: Iterator[str]) -> Json:
    """The next snapshot of a stream."""
    for line in lines:
        if line.startswith("data: "):
            snapshot: Json = json.loads(line.removeprefix("data: "))
            return snapshot
    raise AssertionError("the stream is over")


def test_the_page_hears_of_each_change(local: Local) -> None:
    """At once when it begins to listen, and after every change; changes close together may come as one."""
    local.do("reset")
    with local.client.stream("GET", "/live", headers={"origin": local.address}) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store"
        lines = answer.iter_lines()
        assert next_state(lines)["clerk"]["users"] == []
        with httpx.Client(base_url=local.address, timeout=PATIENCE) as other:
            assert other.post("/do", json={"action": "sign_up", "first_name": "Ada"}).status_code == 200
            while not (now := next_state(lines))["database"]["tables"][0]["count"]:
                pass
        assert now["clerk"]["users"][0]["name"] == "Ada"
        while next_state(lines)["wire"]["messages"][0]["state"] != "delivered":
            pass


def test_many_may_listen_and_leave(local: Local) -> None:
    """Who has hung up is not sent anything, and does not disturb the others."""
    for _ in range(20):
        with httpx.Client(base_url=local.address, timeout=PATIENCE) as one, one.stream("GET", "/live") as answer:
            next_state(answer.iter_lines())
    local.sign_up("Grace")
    assert local.settle()["clerk"]["users"][-1]["name"] == "Grace"


def test_the_demo_app_tells_who_is_calling_and_nothing_to_others(local: Local) -> None:
    """As any application with the middleware does."""
    user = local.sign_up("Alan")
    token = local.do("sign_in", user=user)["token"]
    me = local.client.get("/demo/me", headers={"authorization": f"Bearer {token}"})
    assert (me.status_code, me.json()["user"]["clerk_id"]) == (200, user)
    assert local.client.get("/demo/me").status_code == 401
    assert local.client.get("/demo/me", headers={"authorization": "Bearer x"}).status_code == 401
    assert local.client.get("/demo/nothing").status_code == 404
    assert local.client.get("/demo/webhooks").status_code == 405


def test_the_keys_are_published(local: Local) -> None:
    """Where Clerk publishes them."""
    keys = local.client.get("/.well-known/jwks.json").json()["keys"]
    assert [key["alg"] for key in keys] == ["RS256"]
