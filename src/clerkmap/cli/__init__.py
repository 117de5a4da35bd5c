"""The `clerkmap` command. Nothing in the library imports this room; what it needs comes with the extra `cli`.

Each command is a module of its own, loaded when it is called for: `clerkmap --help` loads none of them.
"""

import sys


def main() -> None:
    """What `clerkmap` and `python -m clerkmap` run."""
    try:
        from .commands import root
    except ModuleNotFoundError as missing:
        if missing.name != "click":
            raise
        sys.exit("the clerkmap command needs a few libraries more: pip install 'clerkmap[cli]'")
    root(prog_name="clerkmap")
