"""The sample project of examples/invoices: its own tests, and 500 more that each have somebody signed in."""

import shutil
from pathlib import Path

import pytest

import clerkmap

pytestmark = pytest.mark.slow

pytest_plugins = ["pytester"]

SAMPLE = Path(__file__).parents[2] / "examples" / "invoices"
MANY = '''
import pytest
from fastapi.testclient import TestClient

from clerkmap.testing import FakeClerk


@pytest.mark.parametrize("number", range(500))
def test_invoices(clerk: FakeClerk, client: TestClient, number: int) -> None:
    """Every other person may write an invoice."""
    role, status = (("org:accountant", 201), ("org:member", 403))[number % 2]
    answer = client.post("/invoices", params={"text": "42"}, headers=clerk.auth(role=role))
    assert answer.status_code == status
'''

STRANGER = """
from clerkmap.testing import FakeClerk


def test_a_stranger(client, clerk):
    stranger = FakeClerk(seed=1, host=clerk.frontend_api, kid=clerk.key.kid)
    assert stranger.issuer == clerk.issuer
    assert client.get("/invoices", headers=stranger.auth(role="org:admin")).json()["code"] == "token_signature_invalid"
"""


@pytest.fixture
def sample(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A copy of the project, as if it were somebody's own."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(clerkmap.__file__).parent.parent))
    shutil.copytree(SAMPLE, pytester.path / "invoices", ignore=shutil.ignore_patterns("__pycache__"))
    return pytester


def run(sample: pytest.Pytester, *what: str) -> pytest.RunResult:
    options = ("-p", "clerkmap.testing.plugin", "-p", "no:cacheprovider", "-W", "error")
    return sample.runpytest_subprocess(*options, *what, timeout=120)


def test_the_projects_own_tests_pass(sample: pytest.Pytester) -> None:
    """As they stand: they are an example. With one more, that another key of the same name is another key."""
    (sample.path / "invoices" / "test_strangers.py").write_text(STRANGER, encoding="utf-8")
    run(sample, "invoices").assert_outcomes(passed=8)


def test_five_hundred_signed_in_requests(sample: pytest.Pytester) -> None:
    """Each token is signed with RS256 and verified, and none was there before. pytest's last line says how long."""
    (sample.path / "invoices" / "test_many.py").write_text(MANY, encoding="utf-8")
    run(sample, "invoices/test_many.py").assert_outcomes(passed=500)
