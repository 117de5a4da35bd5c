"""The `clerkmap` command. No other part of the library imports it; its libraries come with the extra `cli`.

Each command is loaded when it runs: `clerkmap --help` loads none of them.
"""

import io
import os
import sys
from typing import TextIO


def main() -> None:
    """Run the command: the entry point of `clerkmap` and `python -m clerkmap`."""
    try:
        from .commands import root
    except ModuleNotFoundError as missing:
        if missing.name != "click":
            raise
        sys.exit("the clerkmap command needs more libraries: pip install 'clerkmap[cli]'")
    # Replace closed streams, so that no file that is opened later takes their file descriptors.
    sys.stdin, sys.stdout, sys.stderr = sys.stdin or _nowhere(), sys.stdout or _nowhere(), sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # the terminal may not be able to show every character
            stream.reconfigure(errors="backslashreplace")
    root(prog_name="clerkmap")


def _nowhere() -> TextIO:
    return open(os.devnull, "r+", encoding="utf-8")
