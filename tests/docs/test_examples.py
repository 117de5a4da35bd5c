"""The examples do what they print: each is started as a newcomer starts it, and asked what it says to ask."""

import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart.py"
LAST = "the rows in the database: 200"
Requests = dict[str, httpx.Request]


@contextmanager
def started(database: Path) -> Generator[Requests, None, None]:
    """The quickstart, running, and the requests it prints by their titles. It is ended as with Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, str(QUICKSTART), "--port", "0", "--db", str(database)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield printed_requests(process)
        finally:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        assert "Stopped." in out
        assert "Traceback" not in err
    assert process.returncode == 0


def printed_requests(process: "subprocess.Popen[str]") -> Requests:
    """Read the output up to the last request, and make of each curl line what curl would make of it."""
    assert process.stdout is not None
    found: Requests = {}
    title = ""
    while LAST not in found:
        line = process.stdout.readline()
        if not line:
            process.kill()
            pytest.fail(f"it ended early: {process.communicate()[1]}")
        if line.startswith("# "):
            title = line[2:].strip()
        if line.startswith("curl "):
            _curl, _show_headers, url, *rest = shlex.split(line)
            headers = dict(header.split(": ", 1) for header in rest[1::2])
            found[title] = httpx.Request("GET", url, headers=headers)
    return found


def ask(request: httpx.Request) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=120) as client:
        return client.send(request)


def test_each_printed_request_gets_the_status_in_its_title(tmp_path: Path) -> None:
    """What the output announces is what happens."""
    with started(tmp_path / "app.db") as requests:
        answers = {title: ask(request) for title, request in requests.items()}
    assert len(answers) == 7
    for title, answer in answers.items():
        assert answer.status_code == int(title.rpartition(": ")[2]), title
        assert answer.headers["content-type"] == "application/json"
        assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)


def test_refusals_say_which_and_why(tmp_path: Path) -> None:
    """A refusal carries the error's code for programs, and its text for people."""
    with started(tmp_path / "app.db") as requests:
        refused = {
            title: body
            for title, request in requests.items()
            if not title.endswith(": 200") and set(body := ask(request).json()) == {"error", "message"}
        }
    assert [body["error"] for body in refused.values()] == [
        "token_invalid",
        "token_expired",
        "token_is_template",
        "user_deleted",
    ]
    assert all(body["message"] for body in refused.values())


def test_a_good_token_shows_the_callers_own_row(tmp_path: Path) -> None:
    """`/me` answers with your ids, and two people have two of them; `/users` shows the same ids in the tables."""
    with started(tmp_path / "app.db") as requests:
        ada = ask(requests["Ada, in the organization Acme: 200"]).json()
        grace = ask(requests["Grace, in no organization: 200"]).json()
        tables = ask(requests[LAST]).json()
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{18,}", ada["user"])
    assert ada["clerk_id"].startswith("user_")
    assert (ada["organization"]["slug"], ada["role"], ada["kind"]) == ("acme", "org:admin", "session")
    assert (grace["organization"], grace["role"]) == (None, None)
    assert grace["user"] != ada["user"]
    assert {ada["user"], grace["user"]} < {row["id"] for row in tables["clerkmap_users"]}
    tied = {row["clerk_id"]: row["user_id"] for row in tables["clerkmap_identities"]}
    assert tied[ada["clerk_id"]] == ada["user"]


@pytest.mark.slow
def test_a_restart_on_the_same_file_keeps_the_people(tmp_path: Path) -> None:
    """The second start finds the rows of the first, and makes no new ones."""
    seen = []
    for _ in range(2):
        with started(tmp_path / "app.db") as requests:
            me = ask(requests["Ada, in the organization Acme: 200"]).json()
            seen.append((me, ask(requests[LAST]).json()))
    assert seen[0] == seen[1]


def test_other_paths_are_not_found(tmp_path: Path) -> None:
    """A path that does not exist is a 404, with the two that do in its text."""
    with started(tmp_path / "app.db") as requests:
        answer = ask(httpx.Request("GET", requests[LAST].url.join("/elsewhere")))
    assert answer.status_code == 404
    assert "/me" in answer.json()["message"]


def test_a_port_in_use_is_named_with_the_way_out(tmp_path: Path) -> None:
    """Somebody else's port gives one line that names the option, and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, str(QUICKSTART), "--port", str(port), "--db", str(tmp_path / "app.db")]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "--port" in ended.stderr
    assert str(port) in ended.stderr
    assert "Traceback" not in ended.stderr
