"""Move all rows from one database to another: from SQLite to PostgreSQL, or between any two repositories in SQL.

Rows are read and written in pages. Each page is one transaction of the target, which also updates a marker. The marker
holds the last key, and the number and digest of the written rows. A killed move resumes from the marker. At the end,
the move reads both databases again, and compares their numbers and digests with those of the marker. Then it deletes
the marker, so a target with a marker is never complete.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..core.records import key_of
from ..core.strict_json import fields
from ..errors import ConfigurationError
from ..repositories.sql.repository import SqlRepository
from ..repositories.sql.stored_rows import MOVED, Contents, Digest, Row, Table
from .job import OnProgress, Progress


@dataclass(frozen=True, slots=True)
class Moved:
    """The result of a move.

    `rows` is the number of rows that each table of the source has, and `digests` has their digests. `changed` names the
    tables of the source with rows that changed during the move. While it is not empty, the target is incomplete: the
    next run of the same move starts over. `resumed` is whether an earlier run had moved a part.
    """

    rows: dict[str, int]
    digests: dict[str, str] = field(default_factory=dict[str, str])
    changed: tuple[str, ...] = ()
    resumed: bool = False
    dry_run: bool = False

    @property
    def complete(self) -> bool:
        """Return whether the target holds all rows of the source."""
        return not self.changed and not self.dry_run

    def to_dict(self) -> dict[str, Any]:
        """Return the result, ready for JSON."""
        return {**asdict(self), "complete": self.complete}


def move(
    source: SqlRepository,
    target: SqlRepository,
    *,
    dry_run: bool = False,
    anew: bool = False,
    progress: OnProgress | None = None,
) -> Moved:
    """Copy all rows of a repository into an empty one: ids, roles, tombstones, notes and the outbox.

    First stop every process that writes to the source. Hooks are not called. Rows in your own tables are not moved, nor
    are the rows of a `users_table`. An interrupted move resumes.

    Args:
        source: The repository to read from. It is not changed.
        target: The repository to write to: a `SqliteRepository`, `PostgresRepository` or `DjangoRepository`.
        dry_run: Write nothing. Check that the move is possible, and count the rows.
        anew: Start over: delete the rows that an unfinished move wrote into the target.
        progress: Called with the number of rows moved.

    Returns:
        The number and digest of the rows of each table, and the tables of the source that changed meanwhile.

    Raises:
        ConfigurationError: The ids of the source do not fit the target, the target is not empty, or another program
            writes to it.
    """
    job = _Move(_contents(source, "source"), _contents(target, "target"), progress)
    moved = job.run(dry_run=dry_run, anew=anew)
    target.listeners.keys_changed(None)
    return moved


def _contents(repository: object, which: str) -> Contents:
    if not isinstance(repository, SqlRepository):
        raise ConfigurationError(
            f"the {which} of a move must be a SqliteRepository, PostgresRepository or DjangoRepository; "
            f"got {type(repository).__name__}"
        )
    return repository.contents


@dataclass(frozen=True, slots=True)
class _Marker:
    """The progress of a move. `is_stale` is set if the source changed: the written rows must be deleted."""

    source: str
    table: str
    after: Row = ()
    digests: dict[str, Digest] = field(default_factory=dict[str, Digest])
    is_stale: bool = False

    def of(self, table: Table) -> Digest:
        return self.digests.get(table.name, Digest())

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> "_Marker":
        try:
            noted = fields(json.loads(text))
            digests = {name: Digest(**digest) for name, digest in noted.pop("digests").items()}
            read: dict[str, Any] = {**noted, "after": tuple(noted["after"]), "digests": digests}
            marker = cls(**read)
        except (ValueError, TypeError, LookupError, AttributeError):
            raise ConfigurationError(
                "another program changed the move's checkpoint in the target: start over with anew (--anew)"
            ) from None
        return marker


class _Move:
    """One run of a move."""

    def __init__(self, source: Contents, target: Contents, tell: OnProgress | None) -> None:
        self._source = source
        self._target = target
        self._tell = tell

    def run(self, *, dry_run: bool, anew: bool) -> Moved:
        """Check everything first, then copy, then compare."""
        start = _Marker(self._identity(), MOVED[0].name)
        noted = self._noted(start, anew=anew)
        self._source.check_ids(self._target.id_type)
        rows = {table.name: self._source.count(table) for table in MOVED}
        is_stale = anew or (noted is not None and noted.is_stale)
        resumed = noted is not None and not is_stale
        if dry_run:
            return Moved(rows, resumed=resumed, dry_run=True)
        if noted is None:
            self._must(self._target.begin(start.text()))
        elif is_stale:
            self._check_target(noted)
            self._must(self._target.clear(noted.text(), start.text()))
        marker = self._copied(start if noted is None or is_stale else noted, rows)
        changed = self._compared(marker, sum(rows.values()))
        if changed:
            self._must(self._target.add(MOVED[0], [], marker.text(), replace(marker, is_stale=True).text()))
        else:
            self._must(self._target.finish(marker.text()))
        digests = {table.name: f"{marker.of(table).total:064x}" for table in MOVED}
        return Moved({table.name: marker.of(table).rows for table in MOVED}, digests, changed, resumed)

    def _identity(self) -> str:
        """Check that the source and the target are different places. Return a digest of the source's place."""
        origin, other = self._source.origin(), self._target.origin()
        if origin and origin == other:
            raise ConfigurationError("the source and the target of the move are the same tables: name two databases")
        if self._source.marker() is not None:
            raise ConfigurationError("the source is the target of an unfinished move: finish that move first")
        return key_of(origin or f"memory {id(self._source)}")

    def _noted(self, start: _Marker, *, anew: bool) -> _Marker | None:
        """Return the progress of an earlier run, or None if the target is empty."""
        text = self._target.marker()
        if text is None:
            if not self._target.is_empty():
                raise ConfigurationError("the target of the move already has rows: name an empty database")
            return None
        noted = _Marker.read(text)
        if noted.source != start.source and not anew:
            raise ConfigurationError(
                "the target has rows of an unfinished move from another source: finish it, or start over with anew "
                "(--anew), which deletes its rows"
            )
        return noted

    def _copied(self, marker: _Marker, rows: dict[str, int]) -> _Marker:
        """Write the remaining rows, from the marker on."""
        names = [table.name for table in MOVED]
        for table in MOVED[names.index(marker.table) :]:
            after = marker.after if table.name == marker.table else ()
            self._told(table.name, marker.of(table).rows, rows[table.name])
            for page in self._source.pages(table, after):
                last = tuple(page[-1][table.columns.index(column)] for column in table.key)
                digests = {**marker.digests, table.name: marker.of(table).plus(page)}
                moved_on = replace(marker, table=table.name, after=last, digests=digests)
                self._must(self._target.add(table, page, marker.text(), moved_on.text()))
                marker = moved_on
                self._told(table.name, marker.of(table).rows, rows[table.name])
        return marker

    def _compared(self, marker: _Marker, total: int) -> tuple[str, ...]:
        """Read both databases again. Return the tables of the source that have changed since their copy."""
        self._check_target(marker, 2 * total)
        changed: list[str] = []
        done = total
        for table in MOVED:
            if self._digest(self._source, table, done, 2 * total) != marker.of(table):
                changed.append(table.name)
            done += marker.of(table).rows
        return tuple(changed)

    def _check_target(self, marker: _Marker, total: int | None = None) -> None:
        """Check that the target holds the rows that the move wrote, and no other rows."""
        done = 0
        for table in MOVED:
            if self._digest(self._target, table, done, total) != marker.of(table):
                raise ConfigurationError(
                    f"another program wrote to the target's table of {table.name} during the move: stop it, "
                    "empty the target's tables, and start over"
                )
            done += marker.of(table).rows

    def _digest(self, contents: Contents, table: Table, done: int, total: int | None) -> Digest:
        digest = Digest()
        for page in contents.pages(table):
            digest = digest.plus(page)
            self._told("comparison", done + digest.rows, total)
        return digest

    def _told(self, stage: str, done: int, total: int | None) -> None:
        if self._tell is not None:
            self._tell(Progress(stage, done, total))

    def _must(self, is_ours: bool) -> None:
        if not is_ours:
            raise ConfigurationError("another move is writing to the same target: run one at a time")
