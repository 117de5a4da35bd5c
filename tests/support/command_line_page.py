"""docs/command-line.md shows each command as it explains itself.

`python tests/support/command_line_page.py` writes it anew.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

import click

from clerkmap.cli.commands import COMMANDS, root

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
WIDTH = 110


def names() -> list[str]:
    """Every command, with those that are within another in its place."""
    found: list[str] = []
    for name in COMMANDS:
        command = root.get_command(click.Context(root), name)
        inner = list(command.commands) if isinstance(command, click.Group) else []
        found += [f"{name} {each}" for each in inner] or [name]
    return found


def told(name: str) -> str:
    """What `clerkmap NAME --help` says."""
    command: click.Command | None = root
    above = click.Context(root, info_name="clerkmap", **root.context_settings)
    for word in name.split():
        assert isinstance(command, click.Group)
        command = command.get_command(above, word)
        assert command is not None
        above = click.Context(command, above, word, max_content_width=WIDTH, terminal_width=WIDTH)
    with above:
        assert command is not None
        return command.get_help(above).rstrip() + "\n"


def written(page: str) -> str:
    """The page with each command's fence as it should be."""
    for name in names():
        fence = re.compile(rf"^```text\nUsage: clerkmap {name} .*?^```$", re.MULTILINE | re.DOTALL)
        assert len(fence.findall(page)) == 1, f"the page has no section with the help of {name}"
        before, after = fence.split(page)
        page = f"{before}```text\n{told(name)}```{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
