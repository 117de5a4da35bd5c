"""The pytest plugin, seen from the suites of others: each is run by a pytest of its own, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

import clerkmap

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
HERE = ROOT / "tests" / "support"
PLUGIN = ("-p", "clerkmap.testing.plugin")
SUITE = (HERE / "plugin_suite.py").read_text(encoding="utf-8")
OF_DJANGO = (HERE / "plugin_suite_of_django.py").read_text(encoding="utf-8")
OF_A_MODULE = (HERE / "plugin_suite_of_a_module.py").read_text(encoding="utf-8")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An empty directory. Whether clerkmap is installed, and with what besides, makes no difference in it."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(clerkmap.__file__).parent.parent))
    for name in ("CLERK_PUBLISHABLE_KEY", "CLERK_JWT_KEY", "CLERK_WEBHOOK_SIGNING_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLERK_SECRET_KEY", "sk_test_somebodysown")
    monkeypatch.setenv("CLERK_AUTHORIZED_PARTIES", "https://somebodys.example.com")
    return pytester


def settings(project: pytest.Pytester, *lines: str) -> None:
    """Strict ones, as a careful project has them, and more."""
    strict = ("addopts = --strict-markers --strict-config", "filterwarnings = error")
    project.makefile(".ini", pytest="\n".join(["[pytest]", *strict, *lines]))


def run(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    return project.runpytest_subprocess(*PLUGIN, "-p", "no:cacheprovider", *options, timeout=120)


@pytest.mark.slow
def test_an_application_made_by_a_factory(project: pytest.Pytester) -> None:
    """Nothing is configured, and everything the page promises holds."""
    settings(project)
    project.makepyfile(test_suite=SUITE)
    run(project).assert_outcomes(passed=12)


@pytest.mark.slow
def test_an_application_made_by_an_import(project: pytest.Pytester) -> None:
    """One line of configuration, and the application may be made before the first test."""
    settings(project, "clerkmap_environment = true")
    project.makepyfile(test_suite=OF_A_MODULE)
    run(project, "-p", "anyio").assert_outcomes(passed=7)


@pytest.mark.slow
def test_an_application_of_django(project: pytest.Pytester) -> None:
    """Its resolver lives as long as the run, and its rows as long as a test."""
    settings(project, "clerkmap_environment = true")
    project.makepyfile(test_suite=OF_DJANGO)
    run(project).assert_outcomes(passed=3)


def test_without_that_line_the_environment_is_not_touched(project: pytest.Pytester) -> None:
    """Who has not asked for it gets the error they would get without the plugin."""
    settings(project)
    project.makepyfile(test_suite=OF_A_MODULE)
    result = run(project, "-p", "anyio")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ConfigurationError: *set CLERK_PUBLISHABLE_KEY*"])


def test_the_environment_is_there_before_a_conftest(project: pytest.Pytester) -> None:
    """An application may be imported at the top of a conftest, or by another plugin's settings."""
    settings(project, "clerkmap_environment = true")
    project.makeconftest("from clerkmap import Instance\n\ninstance = Instance.from_env()")
    project.makepyfile(
        """
        from conftest import instance

        def test_it(clerk):
            assert instance.publishable_key == clerk.instance.publishable_key
        """
    )
    run(project).assert_outcomes(passed=1)


@pytest.mark.slow
def test_several_workers(project: pytest.Pytester) -> None:
    """pytest-xdist runs the same tests in several processes, in which the ids are the same again."""
    settings(project, "clerkmap_environment = true")
    project.makepyfile(
        test_ids="""
        import pytest

        @pytest.mark.parametrize("number", range(20))
        def test_ids(clerk, number, worker_id):
            with open(f"ids-{worker_id}.txt", "a") as file:
                print(number, clerk.create_user().id, file=file)
        """,
        test_suite=OF_A_MODULE,
    )

    def ids() -> list[str]:
        written = list(project.path.glob("ids-*.txt"))
        lines = sorted(line for each in written for line in each.read_text().splitlines())
        for each in written:
            each.unlink()
        return lines

    options = ("-p", "anyio", "-p", "xdist")
    run(project, *options, "-n", "2").assert_outcomes(passed=27)
    first = ids()
    assert len({line.split()[1] for line in first}) == 20
    run(project, *options, "test_ids.py").assert_outcomes(passed=20)
    assert ids() == first


def test_a_fixture_of_ones_own_may_stand_on_the_plugins(project: pytest.Pytester) -> None:
    """`clerk` can be furnished for all tests, and the repository replaced."""
    settings(project)
    project.makeconftest(
        """
        import pytest
        from clerkmap.repositories import SqliteRepository

        @pytest.fixture
        def clerk(clerk):
            clerk.create_role("org:editor", permissions=["org:invoices:write"])
            return clerk

        @pytest.fixture
        def clerk_repository(tmp_path):
            repository = SqliteRepository.open(tmp_path / "app.db")
            yield repository
            repository.close()
        """
    )
    project.makepyfile(
        """
        import pytest

        @pytest.mark.clerk_user(role="org:editor")
        def test_it(clerk, clerk_resolver, tmp_path):
            principal = clerk_resolver.resolve(clerk.auth()["Authorization"].removeprefix("Bearer "))
            assert principal.claims.has(permission="org:invoices:write")
            assert (tmp_path / "app.db").exists()
        """
    )
    run(project).assert_outcomes(passed=1)


def test_a_marker_that_is_misspelt_is_an_error(project: pytest.Pytester) -> None:
    """At the first token, with the word in question."""
    settings(project)
    project.makepyfile(
        """
        import pytest

        @pytest.mark.clerk_user(rolle="org:admin")
        def test_it(clerk):
            clerk.auth()
        """
    )
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*TypeError*rolle*"])


def test_the_fixtures_and_the_marker_explain_themselves(project: pytest.Pytester) -> None:
    """`pytest --fixtures` and `--markers` tell what there is, and all but one name begins with clerk_."""
    settings(project)
    names = ["clerk", "clerk_clock", "clerk_reconciler", "clerk_repository", "clerk_resolver"]
    told = run(project, "--fixtures").stdout.str().partition("clerkmap.testing.plugin")[2]
    assert sorted(line.split()[0] for line in told.splitlines() if line.startswith("clerk")) == names
    run(project, "--markers").stdout.fnmatch_lines(["@pytest.mark.clerk_user(email, role=*"])


def test_who_does_not_use_it_does_not_pay_for_it() -> None:
    """At pytest's start three modules are loaded, of which each imports nothing that pytest does not."""
    code = """
import sys, pytest, _pytest.main, _pytest.fixtures
before = set(sys.modules)
import clerkmap.testing.plugin
print(*sorted(set(sys.modules) - before))
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert loaded.stdout.split() == ["clerkmap", "clerkmap.testing", "clerkmap.testing.plugin"]


def test_a_suite_that_does_not_use_it_loads_no_more(project: pytest.Pytester) -> None:
    """Nothing of clerkmap is loaded while such a suite runs."""
    settings(project)
    project.makepyfile(
        """
        import sys

        def test_it():
            assert sorted(name for name in sys.modules if name.startswith("clerkmap")) == [
                "clerkmap", "clerkmap.testing", "clerkmap.testing.plugin"
            ]
            assert "cryptography" not in sys.modules
        """
    )
    run(project).assert_outcomes(passed=1)


def test_it_is_installed_as_a_plugin() -> None:
    """pytest finds it by itself in an environment that clerkmap is installed in."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '[project.entry-points.pytest11]\nclerkmap = "clerkmap.testing.plugin"\n' in text
