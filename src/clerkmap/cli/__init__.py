"""The `clerkmap` command. Nothing in the library imports this room; what it needs comes with the extra `cli`.

Each command is a module of its own, loaded when it is called for: `clerkmap --help` loads none of them.
"""

import io
import os
import sys


def main() -> None:
    """What `clerkmap` and `python -m clerkmap` run."""
    try:
        from .commands import root
    except ModuleNotFoundError as missing:
        if missing.name != "click":
            raise
        sys.exit("the clerkmap command needs a few libraries more: pip install 'clerkmap[cli]'")
    # What the caller has closed is nobody to ask and nobody to tell, and no file that is opened later takes its place.
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115 - for as long as the process lives
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that this terminal has no letters for is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    root(prog_name="clerkmap")
