"""The mutants: each a small lie in the rule, in memory or in SQL, why the tests must notice it, and which tests do.

An edit names a module, a function or a constant in it, a text that stands there exactly once, and its replacement. Any
white space in the text stands for any other, so code may be moved and reformatted.
"""

from typing import NamedTuple


class Edit(NamedTuple):
    """`place` is a function, a method (`Class.method`), or a name that the module or a class assigns."""

    module: str
    place: str
    original: str
    mutated: str


class Mutant(NamedTuple):
    """`tests` are the files of tests, or their classes and functions, that notice it in the shortest time."""

    name: str
    why: str
    tests: tuple[str, ...]
    edits: tuple[Edit, ...]


RECORDS = "core.records"
MERGING = "core.merging"
MEMBERSHIP_CHANGES = "core.membership_changes"
STATEMENTS = "repositories.sql.statements"
PUT = "repositories.sql.put"
SCHEMA = "repositories.sql.schema"
READING = "repositories.sql.reading"
LISTS = "repositories.sql.listing"
SHARED_LISTS = "repositories.listing"
DIALECTS = "repositories.sql.dialects"
MEMORY_PUT = "repositories.memory.put"
MEMORY_READING = "repositories.memory.reading"
MEMORY = "repositories.memory.repository"
MEMORY_TABLES = "repositories.memory.tables"
POSTGRES = "repositories.postgres.repository"
SETUP = "repositories.sql.postgres_setup"
SQLITE = "repositories.sqlite.repository"
CONNECTIONS = "repositories.sqlite.connections"
OPTIONS = "repositories.options"

RULE = ("core/test_records.py",)
ENDS = ("core/test_membership_changes.py",)
ORDERS = ("webhooks/test_orders.py::test_all_at_once_ends_alike",)
SQLITE_ORDERS = ("webhooks/test_orders.py::test_sqlite_ends_where_memory_does",)
IN_MEMORY = ("repositories/test_repositories.py::TestMemory",)
ON_SQLITE = ("repositories/test_repositories.py::TestSqliteFile",)
BULK = ("repositories/test_bulk.py",)
VIEWS = ("repositories/test_current_views.py",)
SQLITE_TESTS = ("repositories/test_sqlite.py",)
TRANSACTIONS = ("repositories/test_transactions.py",)
IDS = ("auth/test_lasting_ids.py",)
ON_POSTGRES = ("postgres/test_postgres.py::TestPostgres",)
POSTGRES_BULK = ("postgres/test_postgres_bulk.py",)
LOCKS = ("postgres/test_postgres_locks.py",)
TOLD = ("postgres/test_postgres_freshness.py",)
REPOSITORIES = (
    *(*RULE, *ON_SQLITE, *TRANSACTIONS, *SQLITE_TESTS, *BULK, *IDS, *ORDERS, *SQLITE_ORDERS, *ON_POSTGRES),
    *POSTGRES_BULK,
    *("repositories/test_repositories.py", "webhooks/test_reconciler_orders.py", "webhooks/test_reconciler.py"),
)

MUTANTS = (
    Mutant("outranks: >=", "a duplicate would be a change", RULE, (
        Edit(MERGING, "outranks", "> old.rank", ">= old.rank"),
    )),
    Mutant("outranks: always", "whatever comes last would stay", RULE, (
        Edit(MERGING, "outranks", "old is None or new.rank > old.rank", "True"),
    )),
    Mutant("outranks: never", "the first word would stay", RULE, (
        Edit(MERGING, "outranks", "old is None or new.rank > old.rank", "old is None"),
    )),
    Mutant("outranks: updated_at only", "ties, glimpses and deletions would go by arrival", RULE, (
        Edit(MERGING, "outranks", "new.rank > old.rank", "(new.updated_at or 0) > (old.updated_at or 0)"),
    )),
    Mutant("outranks: without the digest", "of two words of one millisecond the first would stay", RULE, (
        Edit(MERGING, "outranks", "new.rank > old.rank", "new.rank[:33] > old.rank[:33]"),
    )),
    Mutant("rank: without the digest", "ties would have no order", RULE, (
        Edit(RECORDS, "Record.ranked", ".{digest}", ".{0:032}"),
    )),
    Mutant("rank: observed before updated", "a late word would be taken for a new one", RULE, (
        Edit(RECORDS, "Record.ranked", "updated_at:015d}.{observed_at", "observed_at:015d}.{updated_at"),
    )),
    Mutant("grade: deletion is a statement", "a later update would raise the dead", RULE, (
        Edit(RECORDS, "ClerkUser.deleted", ".ranked(DELETED,", ".ranked(FULL,"),
    )),
    Mutant("grade: deletion below a statement", "the numbers of the grades are the order", RULE, (
        Edit(RECORDS, "DELETED", 'Grade = "3"', 'Grade = "1"'),
    )),
    Mutant("grade: a sighting above a statement", "a token would be believed against Clerk", RULE, (
        Edit(RECORDS, "FROM_TOKEN", 'Grade = "0"', 'Grade = "2"'),
        Edit(RECORDS, "FULL", 'Grade = "2"', 'Grade = "0"'),
    )),
    Mutant("grade: a glimpse is a statement", "a membership's glimpse would wipe out the address", IN_MEMORY, (
        Edit(RECORDS, "EMBEDDED", 'Grade = "1"', 'Grade = "2"'),
    )),
    Mutant("tombstone: keeps the Clerk id", "what is deleted would still be personal", RULE, (
        Edit(RECORDS, "ClerkUser.deleted", "None).ranked", "clerk_id).ranked"),
    )),
    Mutant("winning_records: keeps the first", "a batch would go by arrival", RULE, (
        Edit(MERGING, "winning_records", "outranks(record, winners.get(place))", "place not in winners"),
    )),
    Mutant("winning_records: keeps the last", "the same", RULE, (
        Edit(MERGING, "winning_records", "outranks(record, winners.get(place))", "True"),
    )),
    Mutant("winning_records: without the instance", "two worlds would be one", ORDERS, (
        Edit(MERGING, "winning_records", "record.instance", '""'),
    )),
    Mutant("membership: of a banned user", "a banned member would stay in tables", ENDS, (
        Edit(MEMBERSHIP_CHANGES, "_id_that_counts", "or user.clerk.banned", ""),
    )),
    Mutant("membership: of a deleted organization", "a member of a deleted organization would stay in tables", ENDS, (
        Edit(MEMBERSHIP_CHANGES, "_exists", " and not organization.clerk.is_deleted", ""),
    )),
    Mutant("membership: moves unseen", "a member would stay with the first user after a relink", ENDS, (
        Edit(MEMBERSHIP_CHANGES, "MembershipChanges._changes", "user_before.id != user.id", "False"),
    )),
    Mutant("membership: the first change of a put", "one put would make several changes of a membership", ENDS, (
        Edit(MEMBERSHIP_CHANGES, "MembershipChanges.__init__", "self._written.get(ends, (first,))[0]", "first"),
    )),
    Mutant("deletion_time: with the first identity", "a user with an identity left would be gone", RULE, (
        Edit(MERGING, "deletion_time", "and len(gone) == len(times) else", "else"),
    )),
    Mutant("deletion_time: the earliest", "the time would be that of the first", RULE, (
        Edit(MERGING, "deletion_time", "return max(gone", "return min(gone"),
    )),
    Mutant("current_membership: whatever was removed when", "a removal would count for ever, or never", RULE, (
        Edit(MERGING, "current_membership",
             "max((record.observed_at for record in records if record.is_deleted), default=-1)", "-1"),
    )),
    Mutant("current_membership: removed at the same time", "a token of that millisecond would undo a removal", RULE, (
        Edit(MERGING, "current_membership", "> removed_at", ">= removed_at"),
    )),
    Mutant("current_membership: the first full", "of two memberships an old one would count", RULE, (
        Edit(MERGING, "current_membership", "max(full, key=lambda record: record.rank)", "full[0]"),
    )),
    Mutant("SQL: >=", "a duplicate would be a change", ON_SQLITE, (
        Edit(STATEMENTS, "_replace_if_outranked", "excluded.rank > {table", "excluded.rank >= {table"),
    )),
    Mutant("SQL: <", "the oldest word would stay", SQLITE_ORDERS, (
        Edit(STATEMENTS, "_replace_if_outranked", "excluded.rank >", "excluded.rank <"),
    )),
    Mutant("SQL: no WHERE", "whatever comes last would stay", SQLITE_ORDERS, (
        Edit(STATEMENTS, "_replace_if_outranked", " WHERE excluded.rank > {table}.rank", ""),
    )),
    Mutant("SQL: rank without the digest", "ties would go by arrival", SQLITE_ORDERS, (
        Edit(STATEMENTS, "_replace_if_outranked",
             "excluded.rank > {table}.rank", "substr(excluded.rank, 1, 33) > substr({table}.rank, 1, 33)"),
    )),
    Mutant("SQL: a user gets a new id", "an id, once given, stays", SQLITE_TESTS, (
        Edit(STATEMENTS, "_replace_if_outranked", '"key", "id", "user_id"', '"key"'),
        Edit(PUT, "SqlPut._put_user", "record), known.id)", "record), self._configuration.make_id(record))"),
    )),
    Mutant("SQL: an organization gets a new id", "the same", IDS, (
        Edit(STATEMENTS, "_replace_if_outranked", '"key", "id", "user_id"', '"key"'),
        Edit(PUT, "SqlPut._put_organization", "before.id)", "self._configuration.make_id(record))"),
    )),
    Mutant("memory: a user gets a new id", "the same", ORDERS, (
        Edit(MEMORY_PUT, "MemoryPut._put_user", "known is not None", "False"),
    )),
    Mutant("memory: an organization gets a new id", "the same", ORDERS, (
        Edit(MEMORY_PUT, "MemoryPut._put_organization", " if before is None else before.id", ""),
    )),
    Mutant("SQL: conflict without the instance", "the same Clerk id in two instances would be one row", SQLITE_ORDERS, (
        Edit(SCHEMA, "_first_version",
             "{d.generated}, {updated_at}, PRIMARY KEY (instance, key) ){d.table}",
             "{d.generated}, {updated_at}, PRIMARY KEY (key) ){d.table}"),
        Edit(SCHEMA, "_first_version",
             "NULL, PRIMARY KEY (instance, key) ){d.small_table}", "NULL, PRIMARY KEY (key) ){d.small_table}"),
        Edit(SCHEMA, "_first_version",
             "NOT NULL, {updated_at}, PRIMARY KEY (instance, key) ){d.table}",
             "NOT NULL, {updated_at}, PRIMARY KEY (key) ){d.table}"),
        Edit(SCHEMA, "_first_version", "UNIQUE (instance, key)", "UNIQUE (key)"),
        Edit(STATEMENTS, "_replace_if_outranked", "instance, key", "key"),
        Edit(STATEMENTS, "Statements._add_many_rows", "(instance, key)", "(key)"),
        Edit(STATEMENTS, "_insert", "instance, key", "key"),
    )),
    Mutant("SQL: found without the instance", "one instance would see another's people", BULK, (
        Edit(STATEMENTS, "Statements.__init__",
             "over} {tied} WHERE i.instance = ? AND", "over} {tied} WHERE (i.instance = ? OR 1) AND"),
    )),
    Mutant("SQL: memberships without the instance", "one instance would see another's memberships", SQLITE_ORDERS, (
        Edit(STATEMENTS, "Statements.__init__", "ON m.instance = i.instance AND", "ON"),
    )),
    Mutant("SQL: an organization without the instance",
           "one instance would see another's organizations", SQLITE_ORDERS, (
        Edit(STATEMENTS, "Statements.__init__", "ON o.instance = i.instance AND", "ON"),
    )),
    Mutant("SQL: all memberships without the instance", "another's would be exported and erased", BULK, (
        Edit(STATEMENTS, "Statements.__init__", "m.instance = ?", "(m.instance = ? OR 1)"),
    )),
    Mutant("memory: found without the instance", "one instance would see another's people", ORDERS, (
        Edit(MEMORY_PUT, "MemoryPut._put_user", "place_of(record)", '("", record.key)'),
        Edit(MEMORY_READING, "MemoryReading.find", "self.user_at((instance, user_key", 'self.user_at(("", user_key'),
    )),
    Mutant("SQL: deletion is not settled", "a user whose person is deleted would stay", SQLITE_ORDERS, (
        Edit(PUT, "SqlPut._put_user", "record.is_deleted or is_given", "is_given"),
    )),
    Mutant("bulk: what is no better", "a page that comes again would be a change", BULK, (
        Edit(PUT, "_PutMany._put_users", "outranks(record, user.clerk)", "True"),
    )),
    Mutant("bulk: without roles", "a person in a page would get no role", BULK, (
        Edit(PUT, "_PutMany._put_users", "place in roles", "False"),
    )),
    Mutant("bulk: without the linker", "people in a page would not be linked", POSTGRES_BULK, (
        Edit(PUT, "_PutMany._put_users", "new and not self._configuration.has_linker", "new"),
    )),
    Mutant("bulk: deletion is a row", "a user whose person is deleted in a page would stay", BULK, (
        Edit(PUT, "_PutMany._put_users", "elif record.is_deleted or", "elif"),
    )),
    Mutant("bulk: an older organization", "what Clerk said before would come back", BULK, (
        Edit(PUT, "_PutMany._put_organizations", "None and outranks(record, before.clerk)", "None"),
    )),
    Mutant("bulk: an older membership", "a change would be told that is none", BULK, (
        Edit(PUT, "_PutMany._put_memberships", "not outranks(record, of_both.get(record.key))", "False"),
    )),
    Mutant("views: a former member stays", "two rows of one pair would be current", VIEWS, (
        Edit(PUT, "CurrentFlags.turn", "self._former.add(old)", "pass"),
    )),
    Mutant("views: nobody follows", "the next current membership would not be listed", VIEWS, (
        Edit(PUT, "CurrentFlags.set", "others := self._current.difference(written)", "others := set[Place]()"),
    )),
    Mutant("views: a banned member is listed", "the resolver refuses the user", VIEWS, (
        Edit(LISTS, "current_members", "m.is_current AND NOT i.banned", "m.is_current"),
    )),
    Mutant("bulk: each membership by itself", "of two in a page, the second would not follow the first", BULK, (
        Edit(PUT, "_PutMany._put_memberships",
             "of_both[record.key] = record", "of_both = {**of_both, record.key: record}"),
    )),
    Mutant("PostgreSQL: a transaction for each statement", "half of a put that failed would stay", ON_POSTGRES, (
        Edit(POSTGRES, "PostgresRepository._transact",
             "with self._source.transaction(connection) as joins", "for joins in (False,)"),
    )),
    Mutant("PostgreSQL: no rows are kept from others", "of two writers one would work on what is gone", LOCKS, (
        Edit(DIALECTS, "POSTGRES", '" FOR NO KEY UPDATE"', '""'),
    )),
    Mutant("PostgreSQL: nobody is told", "other processes would keep the old state", TOLD, (
        Edit(SETUP, "Setup.notify", "self._notify, (payloads,", '"SELECT 1", ('),
    )),
    Mutant("SQLite: watchers before the commit", "a reader would keep the old state", TRANSACTIONS, (
        Edit(SQLITE, "SqliteRepository._transact", "self.listeners.tell", "    self.listeners.tell"),
    )),
    Mutant("memory: watchers before the commit", "a watcher that fails would undo what was written", TRANSACTIONS, (
        Edit(MEMORY, "MemoryRepository._write", "self.listeners.tell", "    self.listeners.tell"),
    )),
    Mutant("memory: nothing is taken back", "half of a put that failed would stay", IN_MEMORY, (
        Edit(MEMORY_TABLES, "MemoryTables.transaction", "self._undo_all", "self._undo.clear"),
    )),
    Mutant("SQLite: BEGIN on a file", "two processes that read before they write would fail under load", TRANSACTIONS, (
        Edit(CONNECTIONS, "FileConnections.writing", '"BEGIN IMMEDIATE"', '"BEGIN"'),
    )),
    Mutant("SQLite: BEGIN on your connection", "the same", TRANSACTIONS, (
        Edit(CONNECTIONS, "ALONE", '"BEGIN IMMEDIATE"', '"BEGIN"'),
    )),
    Mutant("SQLite: no transaction on a file", "half of a put that failed would stay", SQLITE_TESTS, (
        Edit(CONNECTIONS, "FileConnections.writing", 'execute(connection, "BEGIN IMMEDIATE", self.place)', "pass"),
        Edit(CONNECTIONS, "FileConnections.writing", 'execute(connection, "COMMIT", self.place)', "pass"),
    )),
    Mutant("SQLite: no rollback on a file", "the next writer would go on with what failed", SQLITE_TESTS, (
        Edit(CONNECTIONS, "FileConnections.reading",
             "as error: connection.close()", "as error:\n                self._idle.append(connection)"),
        Edit(CONNECTIONS, "FileConnections.writing", 'connection.execute("ROLLBACK")', "pass"),
    )),
    Mutant("SQLite: no rollback on your connection", "the same", SQLITE_TESTS, (
        Edit(CONNECTIONS, "SharedConnection.writing", "in rollback:", "in ():"),
    )),
    Mutant("SQLite: commit for rollback", "half of a put that failed would stay", REPOSITORIES, (
        Edit(CONNECTIONS, "ALONE", '"ROLLBACK"', '"COMMIT"'),
    )),
    Mutant("roles: whatever is named last", "a late word of Clerk's would take a role away", ON_SQLITE, (
        Edit(STATEMENTS, "Statements.__init__", "role_rank IS NULL AND role IS NULL", "1"),
    )),
    Mutant("roles: of the record that stays", "what is put at once would give another role", ON_SQLITE, (
        Edit(OPTIONS, "Configuration.first_roles", "record.rank < known", "record.rank > known"),
    )),
    Mutant("roles: set by you, and taken back", "a role of yours is yours", ON_SQLITE, (
        Edit(STATEMENTS, "Statements.__init__", "'' WHERE", "'x' WHERE"),
    )),
    Mutant("sessions: of any instance", "a session of one instance would end another's", ON_SQLITE, (
        Edit(STATEMENTS, "Statements.__init__", "s.instance = i.instance AND s.key", "s.key"),
    )),
    Mutant("sessions: forgotten at once", "a revoked session would go on", ON_SQLITE, (
        Edit(STATEMENTS, "Statements.__init__", "WHERE rank < ?", "WHERE rank > ?"),
    )),
    Mutant("hooks: after the commit", "a hook that fails would undo nothing", ON_SQLITE, (
        Edit(SQLITE, "SqliteRepository._work_in",
             "self.listeners.call(written, connection, lambda: is_open(connection), then)", "pass"),
    )),
    Mutant("changes: a rejoining is a joining", "a hook would make the same row again", ORDERS, (
        Edit(MERGING, "latest_membership", "records) or over", "records)"),
    )),
    Mutant("listing: from the last key on", "a thing would be read twice", ON_SQLITE, (
        Edit(STATEMENTS, "Statements._add_lists", "said} > (?", "said} >= (?"),
    )),
    Mutant("listing: of any instance", "another's people would be taken for missing at Clerk", ON_SQLITE, (
        Edit(READING, "SqlReading.records", "rows if row[0] == instance", "rows"),
    )),
    Mutant("listing: in no order", "the next page would leave something out", ON_SQLITE, (
        Edit(STATEMENTS, "Statements._add_lists", "BY instance, key LIMIT", "BY rank LIMIT"),
    )),
    Mutant("listing: what tokens say is Clerk's word", "silent webhooks would go unnoticed", ON_SQLITE, (
        Edit(READING, "_counted",
             "grade, (_, _, observed) in grades.items() if grade != FROM_TOKEN",
             "_, (_, _, observed) in grades.items()"),
    )),
    Mutant("listing: a name in one case", "a search would not find somebody", ON_SQLITE, (
        Edit(SHARED_LISTS, "fold", ".casefold()", ""),
    )),
    Mutant("listing: each name by itself", "a search would find somebody twice", ON_SQLITE, (
        Edit(SHARED_LISTS, "_terms", "_shared(before, term)", "0"),
    )),
    Mutant("listing: the terms of before stay", "a search would find somebody by an old name", ON_SQLITE, (
        Edit(LISTS, "SearchTerms.follow", "range(0, len(gone), _AT_ONCE)", "()"),
    )),
    Mutant("listing: a note is kept", "a work would begin anew for ever", ON_SQLITE, (
        Edit(STATEMENTS, "Statements._add_lists", "UPDATE SET text = excluded.text", "NOTHING"),
    )),
)  # fmt: skip
