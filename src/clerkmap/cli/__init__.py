"""The `clerkmap` command. Nothing in the library imports this room; what it needs comes with the extra `cli`.

Each command is a module of its own, loaded when it is called for: `clerkmap --help` loads none of them.
"""

import io
import os
import sys
from typing import TextIO


def main() -> None:
    """What `clerkmap` and `python -m clerkmap` run."""
    try:
        from .commands import root
    except ModuleNotFoundError as missing:
        if missing.name != "click":
            raise
        sys.exit("the clerkmap command needs a few libraries more: pip install 'clerkmap[cli]'")
    # What the caller has closed is nobody to ask and nobody to tell, and no file that is opened later takes its place.
    sys.stdin, sys.stdout, sys.stderr = sys.stdin or _nowhere(), sys.stdout or _nowhere(), sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that this terminal has no letters for is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    root(prog_name="clerkmap")


def _nowhere() -> TextIO:
    return open(os.devnull, "r+", encoding="utf-8")
