"""The course platform of examples/courses: its own tests pass on each driver, by one setting."""

import os
import subprocess
import sys

import psycopg
import pytest

from docs_pages import ROOT
from postgres_server import new_database

pytestmark = pytest.mark.slow

EXAMPLE = ROOT / "examples" / "courses"


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_its_own_tests_pass_on_each_driver(driver: str) -> None:
    """As they stand, in two workers with a database each, which are gone afterwards. `alembic check` is one of them."""
    with new_database() as url:
        environment = {**os.environ, "DATABASE_URL": url.replace(":", f"+{driver}:", 1), "PYTHONPATH": str(ROOT)}
        for variable in [each for each in environment if each.startswith("PYTEST_")]:
            del environment[variable]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-n", "2", "-W", "error", "-p", "no:cacheprovider", str(EXAMPLE)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        tests = (EXAMPLE / "tests" / "test_courses.py").read_text(encoding="utf-8").count("async def test_")
        assert f"{tests + 1} passed" in done.stdout  # one of them runs twice
        with psycopg.connect(url) as connection:
            left = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE current_database() || '_%'")
            assert left.fetchall() == []
