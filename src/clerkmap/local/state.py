"""The state file, which survives a restart or a power failure.

It is replaced as a whole: at any time the old or the new content is complete.
"""

import json
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..core.strict_json import fields
from ..testing import ClerkRefuses

VERSION = 1


class StateDamaged(Exception):
    """The state file is not valid. The text says how to go on."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} cannot be used: {reason}. Nothing was changed. Restore a backup, move the file away to start "
            "over, or name another file with --state"
        )


class StateNotKept(ClerkRefuses):
    """The state file cannot be written. The changes stay in memory, and are lost at the end of the process."""

    def __init__(self, path: Path, error: OSError) -> None:
        said = f"{path} cannot be written ({error.strerror}): later changes will be lost"
        super().__init__(507, "state_not_kept", said)


class StateTaken(Exception):
    """Another process uses the state file."""


class StateFile:
    """A JSON file for one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self._written: str | None = None
        self._lock: sqlite3.Connection | None = None

    def take(self) -> None:
        """Lock the file until `release`, or until the process ends."""
        # SQLite locks files alike on every system. The lock is a separate file: a write replaces the state file.
        try:
            self._lock = sqlite3.connect(f"{self.path}.lock", timeout=0, isolation_level=None)
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            self.release()
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise StateDamaged(self.path, f"its folder is not writable ({error})") from None
            raise StateTaken(f"{self.path} is in use: another `clerkmap dev` is running") from None

    def release(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.close()

    def read(self) -> dict[str, Any] | None:
        """Return the saved state, or None without a file."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StateDamaged(self.path, f"it cannot be read ({type(error).__name__})") from None
        try:
            kept = fields(json.loads(text))
        except (ValueError, RecursionError):
            raise StateDamaged(self.path, "it is not valid JSON") from None
        if kept.get("version") != VERSION:
            raise StateDamaged(self.path, f"it is not a state file of version {VERSION} of `clerkmap dev`")
        return kept

    def write(self, kept: dict[str, Any]) -> None:
        """Save a state, unless it is saved already. Raises `StateNotKept` if that fails."""
        text = json.dumps({"version": VERSION} | kept, separators=(",", ":"))
        if text == self._written:
            return
        try:
            self._write(text)
        except OSError as error:
            raise StateNotKept(self.path, error) from None
        self._written = text

    def _write(self, text: str) -> None:
        # In the same folder, since a file replaces another in one step only there.
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
