"""The file in which everything is kept, so that it is there again after a restart, or a power cut.

It is replaced as a whole: at any moment there is the old one or the new one, and never half of either.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..core.strict_json import fields

VERSION = 1


class StateDamaged(Exception):
    """A file is not what was kept. Its text says what to do."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} cannot be used: {reason}. Nothing was changed. Put back a copy of it, move it away to begin anew, "
            "or name another file with --state"
        )


class StateFile:
    """One file of JSON."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self._written: str | None = None

    def read(self) -> dict[str, Any] | None:
        """What was kept; None where there is no file yet."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StateDamaged(self.path, f"it cannot be read ({type(error).__name__})") from None
        try:
            kept = fields(json.loads(text))
        except (ValueError, RecursionError):
            raise StateDamaged(self.path, "it is no JSON, or was cut off") from None
        if kept.get("version") != VERSION:
            raise StateDamaged(self.path, f"it is not what version {VERSION} of `clerkmap dev` keeps")
        return kept

    def write(self, kept: dict[str, Any]) -> None:
        """Keep this, unless it is what was kept last."""
        text = json.dumps({"version": VERSION} | kept, separators=(",", ":"))
        if text == self._written:
            return
        # Beside it, for only within one folder does a file take another's place in one step.
        beside = self.path.with_name(f"{self.path.name}.new")
        try:
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self.path)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise
        self._written = text
