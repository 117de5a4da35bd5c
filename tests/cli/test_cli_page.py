"""The page on the command line says what the commands say themselves, and its exit codes are those of the code."""

import re

from clerkmap.cli import failures
from cli_world import VARIABLES
from command_line_page import PAGE, names, written


def test_the_page_shows_every_command_as_it_explains_itself() -> None:
    """If this fails: python tests/support/command_line_page.py."""
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page)
    assert re.findall(r"^## clerkmap ([\w -]+)$", page, re.MULTILINE) == names()


def test_the_page_has_every_exit_code_and_no_other() -> None:
    """In the table, in their order."""
    told = re.findall(r"^\| (\d+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    named = [value for name, value in vars(failures).items() if name.isupper() and type(value) is int]
    assert [int(each) for each in told] == sorted(named)


def test_the_page_has_every_variable() -> None:
    """Each that a command reads."""
    page = PAGE.read_text(encoding="utf-8")
    assert not [name for name in VARIABLES if f"`{name}`" not in page]
