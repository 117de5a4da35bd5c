"""Flask behind real servers: many callers on few threads, and nobody is ever taken for somebody else."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from waitress import create_server  # type: ignore[import-untyped]
from werkzeug.serving import make_server

from flask_world import FlaskWorld

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0


@contextmanager
def waitress(world: FlaskWorld) -> Iterator[str]:
    """On two threads, so that they are shared by all who call. Every request leaves the thread as it was."""
    server = create_server(world.app, host="127.0.0.1", port=0, threads=2)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        server.task_dispatcher.shutdown()
        server.trigger.pull_trigger(server.close)
        thread.join(PATIENCE)
        assert not thread.is_alive()


@contextmanager
def development(world: FlaskWorld) -> Iterator[str]:
    """Flask's own server, with a thread for each connection."""
    server = make_server("127.0.0.1", 0, world.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(PATIENCE)
        server.server_close()


@contextmanager
def gunicorn(world: FlaskWorld) -> Iterator[str]:
    """Another process, with two threads, and its own world that is made like this one."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.set_inheritable(True)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"  # whoever comes early waits in the queue
        command = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{listening.fileno()}", "--threads", "2"]
        command += ["--log-level", "error", "flask_world:served()"]
        path = os.pathsep.join(map(str, (ROOT / "tests" / "support", ROOT / "src")))
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, pass_fds=[listening.fileno()])
    try:
        yield url
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.parametrize("serve", [waitress, development, gunicorn])
def test_many_callers_on_few_threads(serve: Callable[[FlaskWorld], object]) -> None:
    """People, nobody and a bad token take turns; each is answered as who they are."""
    world = FlaskWorld()
    people = [world.ada, *(world.fake.create_user() for _ in range(7))]
    tokens = [world.fake.token(person, expires_in=600) for person in people]
    with serve(world) as url, httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as client:  # type: ignore[attr-defined]

        def ask(number: int) -> tuple[int, str, object]:
            """Somebody, and after them nobody, and somebody who is refused."""
            which = number % len(people)
            path = ("/me", "/ame", "/bfresh/page")[number % 3]
            said = client.get(path, headers=world.bearer(tokens[which])).json()
            assert said["agreed"]
            assert client.get("/open").json() == {"id": None}
            refused = client.get("/open", headers=world.bearer("undefined"))
            return which, said["id"], (refused.status_code, refused.json()["code"])

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(ask, range(96)))
        ids = {which: found for which, found, _refused in answers}
        assert len(set(ids.values())) == len(people)
        assert {found == ids[which] for which, found, _refused in answers} == {True}
        assert {refused for *_, refused in answers} == {(401, "token_malformed")}
        if serve is not gunicorn:
            assert ids == {which: world.id_of(token) for which, token in enumerate(tokens)}


@pytest.mark.parametrize("serve", [waitress, gunicorn])
def test_headers_over_the_wire(serve: Callable[[FlaskWorld], object]) -> None:
    """Two headers of one name, a cookie with and without an Origin, and a question before one: as from the client."""
    world = FlaskWorld()
    bearer, token = world.bearer(), world.fake.token(world.ada)
    with serve(world) as url, httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as client:  # type: ignore[attr-defined]
        cookie = {"Cookie": f"__session={token}"}
        missing = client.get("/me")
        assert (missing.status_code, missing.headers["www-authenticate"]) == (401, "Bearer")
        assert client.get("/me", headers=[*bearer.items(), *bearer.items()]).json()["code"] == "authorization_refused"
        assert client.get("/me", headers=cookie).status_code == 200
        assert client.post("/me", headers=cookie).json()["code"] == "origin_refused"
        assert client.post("/me", headers={**cookie, "Origin": url}).status_code == 200
        assert client.options("/me").status_code == 401  # like any method
        page = client.get("/chosen", headers={**bearer, "Accept": "text/html"})
        assert (page.status_code, page.headers["location"], page.content) == (
            303,
            "/choose?redirect_url=%2Fchosen",
            b"",
        )
        assert "content-type" not in page.headers
