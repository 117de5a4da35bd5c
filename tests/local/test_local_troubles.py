"""What goes wrong around `clerkmap dev`, and what becomes of what it keeps.

Disks that are full, files that are damaged, a second process, numbers without bounds, too many connections.
"""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from clerkmap.local.instance import Box
from clerkmap.local.state import StateDamaged, StateFile
from local_process import PATIENCE, Json, Local, command, environment, rows

pytestmark = pytest.mark.slow


def refused(folder: Path, *options: str, status: int = 1) -> str:
    """What it says when it does not start."""
    done = subprocess.run(
        command(*options),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == status, done
    assert "Traceback" not in done.stderr
    return done.stderr


def test_metadata_that_were_replaced_by_null_are_there_after_a_restart(tmp_path: Path) -> None:
    """Clerk stores the null, and so does the file."""
    with Local(tmp_path) as local:
        user = local.sign_up()
        key = {"authorization": f"Bearer {local.environment['CLERK_SECRET_KEY']}"}
        path = f"/v1/users/{user}/metadata"
        assert local.client.put(path, headers=key, json={"public_metadata": None}).status_code == 200
    with Local(tmp_path) as local:
        assert local.client.get(f"/v1/users/{user}", headers=key).json()["public_metadata"] is None


def test_a_disk_that_cannot_be_written_to_is_told_and_survived(tmp_path: Path) -> None:
    """It goes on, and keeps everything as soon as it can; if it never can, it says so at its end."""
    folder = tmp_path / "kept"
    folder.mkdir()
    with Local(tmp_path, "--state", "kept/state.json") as local:
        shutil.rmtree(folder)
        assert local.refused("sign_up", first_name="Ada") == (507, "state_not_kept")
        assert len(rows(local.settle(), "users")) == 1
        folder.mkdir()
        local.sign_up("Grace")
    with Local(tmp_path, "--state", "kept/state.json") as local:
        assert [each["name"] for each in local.state()["clerk"]["users"]] == ["Ada", "Grace"]
        shutil.rmtree(folder)
        assert local.refused("sign_up") == (507, "state_not_kept")
        assert local.end(signal.SIGINT) == 1
    assert "--state" in refused(tmp_path, "--state", "kept/state.json")


def test_two_do_not_keep_their_own_in_one_file(tmp_path: Path) -> None:
    """The second is refused as long as the first one lives, also if that is killed."""
    with Local(tmp_path) as local:
        local.sign_up("Ada")
        assert "another `clerkmap dev` is running" in refused(tmp_path)
        local.end(signal.SIGKILL)
    with Local(tmp_path) as local:
        assert [each["name"] for each in local.state()["clerk"]["users"]] == ["Ada"]


@pytest.mark.parametrize("options", [("--db", ""), ("--db", "."), ("--db", "a.db", "--state", "./a.db")])
def test_the_database_is_a_file_of_its_own(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Not a folder, nor the file that everything else is kept in."""
    assert "--db" in refused(tmp_path, *options, status=2)
    assert not list(tmp_path.iterdir())


DAMAGES: dict[str, Callable[[Json], object]] = {
    "a time beyond all bounds": lambda kept: kept["wire"]["messages"][0].update(due=10**400),
    "no number": lambda kept: kept.update(clock=float("nan")),
    "a generator that is none": lambda kept: kept["random"][0][1].insert(0, 10**30),
    "an event that is no JSON": lambda kept: kept["wire"]["messages"][0].update(body="x"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path, damage: str) -> None:
    """In words, before anything is done; and the file is free for whoever comes next."""
    file = tmp_path / "state.json"

    async def start() -> None:
        box = Box(tmp_path / "demo.db", state=StateFile(file))
        box.clerk.create_user()
        await box.close()

    asyncio.run(start())
    good = file.read_text()
    kept = json.loads(good)
    DAMAGES[damage](kept)
    file.write_text(json.dumps(kept))
    before = file.read_text()
    with pytest.raises(StateDamaged, match="Nothing was changed"):
        asyncio.run(start())
    assert file.read_text() == before
    file.write_text(good)
    asyncio.run(start())


def test_no_number_is_too_large_to_be_refused(tmp_path: Path) -> None:
    """Nor is anything else an error of the server's."""
    with Local(tmp_path, "--db", ":memory:") as local:
        assert local.refused("advance", seconds=10**400) == (422, "form_param_type_invalid")
        assert local.refused("chaos", duplicate=10**400) == (422, "form_param_type_invalid")


def test_an_address_in_other_capitals_is_the_same_address(tmp_path: Path) -> None:
    """Who is edited keeps theirs."""
    with Local(tmp_path, "--db", ":memory:") as local:
        local.do("edit_user", user=local.sign_up("Ada"), email="ADA@example.com", last_name="King")
        assert local.state()["clerk"]["users"][0]["name"] == "Ada King"


def test_more_connections_than_anybody_needs_do_not_stop_it(tmp_path: Path) -> None:
    """There is an end to them, before the process can open no more files; and when they are gone, all is well."""
    with Local(tmp_path, "--db", ":memory:") as local:
        port = int(local.address.rpartition(":")[2])
        with ExitStack() as stack:
            for _ in range(210):
                stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), PATIENCE)))
            assert local.client.get("/state").status_code == 503
        while local.client.get("/state").status_code != 200:
            pass
        local.sign_up()


def test_what_a_page_of_somebody_else_embeds_is_refused(tmp_path: Path) -> None:
    """A browser sends no origin with it, but says that it is for another site. A link to the page may be followed."""
    with Local(tmp_path, "--db", ":memory:") as local:
        for site in ("cross-site", "same-site"):
            for path in ("/live", "/state", "/", "/page/page.js", "/demo/me", "/.well-known/jwks.json"):
                embedded = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
                with local.client.stream("GET", path, headers=embedded) as answer:  # of which /live has no end
                    assert answer.status_code == 403, path
            visit = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
            assert local.client.get("/", headers=visit).status_code == 200
            assert local.client.get("/state", headers=visit).status_code == 403
        for site in ("same-origin", "none"):
            assert local.client.get("/state", headers={"sec-fetch-site": site}).status_code == 200
