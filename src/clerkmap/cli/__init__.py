"""The `clerkmap` command. Nothing in the library imports this room; what it needs comes with the extra `cli`.

Each command is a module of its own, loaded when it is called for: `clerkmap --help` loads none of them.
"""

import io
import sys


def main() -> None:
    """What `clerkmap` and `python -m clerkmap` run."""
    try:
        from .commands import root
    except ModuleNotFoundError as missing:
        if missing.name != "click":
            raise
        sys.exit("the clerkmap command needs a few libraries more: pip install 'clerkmap[cli]'")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that this terminal has no letters for is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    root(prog_name="clerkmap")
