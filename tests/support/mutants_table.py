"""The mutants: each a small lie in the rule, in memory or in SQLite, and why the tests must notice it.

An edit is a file under `src/clerkmap`, a text that stands in it exactly once, and what is put in its place. When the
source is changed, this table is changed with it.
"""

from typing import NamedTuple


class Edit(NamedTuple):
    file: str
    original: str
    mutated: str


class Mutant(NamedTuple):
    name: str
    why: str
    edits: tuple[Edit, ...]


RECORDS, CONCLUSIONS, SQL = "core/records.py", "core/merging.py", "repositories/sql/statements.py"
MEMORY, MEMORY_TABLES = "repositories/memory/repository.py", "repositories/memory/tables.py"
MEMORY_PUT, MEMORY_READING = "repositories/memory/put.py", "repositories/memory/reading.py"
READING = "repositories/sql/reading.py"
SCHEMA, PUTTING = "repositories/sql/schema.py", "repositories/sql/put.py"
SQLITE, CONNECTIONS = "repositories/sqlite/repository.py", "repositories/sqlite/connections.py"
POSTGRES, SETUP = "repositories/postgres/repository.py", "repositories/postgres/setup.py"
CHOICES = "repositories/options.py"

NEWER = "    return old is None or new.rank > old.rank\n"
FOLD = "        if newer(record, greatest.get(place)):\n"
GONE = "    return max(gone) if gone and len(gone) == len(times) else None\n"
WHERE = " WHERE excluded.rank > {table}.rank"
RANK = '"rank", f"{grade}.{updated_at:015d}.{observed_at:015d}.{digest}")'
TOMBSTONE = """the tombstone of a user.\"\"\"
        return cls(instance, key_of(clerk_id), "", None).ranked(DELETED, 0, observed_at)"""
FULL_FIRST = """    if full:
        return max(full, key=lambda record: record.rank)
"""
REMOVED = "removed_at = max((record.observed_at for record in records if record.is_deleted), default=-1)"
SQLITE_TELLS = "            self.listeners.tell(written, committed="
SQLITE_CALLS = "                self.listeners.call(written, connection, lambda: is_open(connection))\n"
MEMORY_TELLS = "            self.listeners.tell(written)\n"
SQL_USER_ID = "self._sql.upsert_identity, (*user_row(record), known.id)"
SQL_ORGANIZATION_ID = "self._sql.upsert_organization, (*organization_row(record), before.id)"
MEMORY_USER_ID = "        if known is not None:\n            id = known.id\n"
MEMORY_ORGANIZATION_ID = 'self._users.new_id("organization", record, taken) if before is None else before.id'
GIVE_ROLE = "WHERE id = ? AND (role_rank > ? OR role_rank IS NULL AND role IS NULL) RETURNING id"
KEPT = 'kept = ("instance", "key", "id", "user_id")'
MEMORY_PLACE = "        place = (record.instance, record.key)\n        known = self._reading.user_at(place)\n"
MEMORY_FOUND = "user = self.user_at((instance, user_key))"
UNDONE = """            except BaseException as error:
                connection.close()
"""
IDENTITY_KEY = "{updated_at},\n    PRIMARY KEY (instance, key)\n){d.small_table}"
SESSION_KEY = "rank {d.key} NOT NULL,\n    PRIMARY KEY (instance, key)\n){d.small_table}"
MEMBERSHIP_KEY = '    PRIMARY KEY (instance, key)\n){d.table}"""'

MUTANTS = (
    Mutant("newer: >=", "a duplicate would be a change", (
        Edit(RECORDS, NEWER, "    return old is None or new.rank >= old.rank\n"),
    )),
    Mutant("newer: always", "whatever comes last would stay", (Edit(RECORDS, NEWER, "    return True\n"),)),
    Mutant("newer: never", "the first word would stay", (Edit(RECORDS, NEWER, "    return old is None\n"),)),
    Mutant("newer: updated_at only", "ties, glimpses and deletions would go by arrival", (
        Edit(RECORDS, NEWER, "    return old is None or (new.updated_at or 0) > (old.updated_at or 0)\n"),
    )),
    Mutant("newer: without the digest", "of two words of one millisecond the first would stay", (
        Edit(RECORDS, NEWER, "    return old is None or new.rank[:33] > old.rank[:33]\n"),
    )),
    Mutant("rank: without the digest", "ties would have no order", (
        Edit(RECORDS, RANK, RANK.replace("digest", "0:032")),
    )),
    Mutant("rank: observed before updated", "a late word would be taken for a new one", (
        Edit(RECORDS, RANK, RANK.replace("updated", "x").replace("observed", "updated").replace("x_", "observed_")),
    )),
    Mutant("grade: deletion is a statement", "a later update would raise the dead", (
        Edit(RECORDS, TOMBSTONE, TOMBSTONE.replace("DELETED", "FULL")),
    )),
    Mutant("grade: deletion below a statement", "the numbers of the grades are the order", (
        Edit(RECORDS, 'DELETED: Grade = "3"', 'DELETED: Grade = "1"'),
    )),
    Mutant("grade: a sighting above a statement", "a token would be believed against Clerk", (
        Edit(RECORDS, 'FROM_TOKEN: Grade = "0"', 'FROM_TOKEN: Grade = "2"'),
        Edit(RECORDS, 'FULL: Grade = "2"', 'FULL: Grade = "0"'),
    )),
    Mutant("grade: a glimpse is a statement", "a membership's glimpse would wipe out the address", (
        Edit(RECORDS, 'EMBEDDED: Grade = "1"', 'EMBEDDED: Grade = "2"'),
    )),
    Mutant("tombstone: keeps the Clerk id", "what is deleted would still be personal", (
        Edit(RECORDS, TOMBSTONE, TOMBSTONE.replace("None", "clerk_id")),
    )),
    Mutant("fold: keeps the first", "a batch would go by arrival", (
        Edit(RECORDS, FOLD, "        if place not in greatest:\n"),
    )),
    Mutant("fold: keeps the last", "the same", (Edit(RECORDS, FOLD, "        if True:\n"),)),
    Mutant("fold: without the instance", "two worlds would be one", (
        Edit(RECORDS, "        place = (_ORDER[record.kind], record.instance, record.key)\n",
             '        place = (_ORDER[record.kind], "", record.key)\n'),
    )),
    Mutant("deleted_at: with the first identity", "a user with an identity left would be gone", (
        Edit(CONCLUSIONS, GONE, "    return max(gone) if gone else None\n"),
    )),
    Mutant("deleted_at: the earliest", "the time would be that of the first", (
        Edit(CONCLUSIONS, GONE, GONE.replace("max(gone)", "min(gone)")),
    )),
    Mutant("current_membership: whatever was removed when", "a removal would count for ever, or never", (
        Edit(CONCLUSIONS, REMOVED, "removed_at = -1"),
    )),
    Mutant("current_membership: removed at the same time", "a token of that millisecond would undo a removal", (
        Edit(CONCLUSIONS, "record.observed_at > removed_at]", "record.observed_at >= removed_at]"),
    )),
    Mutant("current_membership: the first full", "of two memberships an old one would count", (
        Edit(CONCLUSIONS, FULL_FIRST, "    if full:\n        return full[0]\n"),
    )),
    Mutant("SQL: >=", "a duplicate would be a change", (Edit(SQL, WHERE, WHERE.replace(">", ">=")),)),
    Mutant("SQL: <", "the oldest word would stay", (Edit(SQL, WHERE, WHERE.replace(">", "<")),)),
    Mutant("SQL: no WHERE", "whatever comes last would stay", (Edit(SQL, WHERE, ""),)),
    Mutant("SQL: rank without the digest", "ties would go by arrival", (
        Edit(SQL, WHERE, " WHERE substr(excluded.rank, 1, 33) > substr({table}.rank, 1, 33)"),
    )),
    Mutant("SQL: a user gets a new id", "an id, once given, stays", (
        Edit(SQL, KEPT, 'kept = ("instance", "key")'),
        Edit(PUTTING, SQL_USER_ID, SQL_USER_ID.replace("known.id", "self._configuration.make_id(record)")),
    )),
    Mutant("SQL: an organization gets a new id", "the same", (
        Edit(SQL, KEPT, 'kept = ("instance", "key")'),
        Edit(PUTTING, SQL_ORGANIZATION_ID,
             SQL_ORGANIZATION_ID.replace("before.id", "self._configuration.make_id(record)")),
    )),
    Mutant("memory: a user gets a new id", "the same", (
        Edit(MEMORY_PUT, MEMORY_USER_ID, MEMORY_USER_ID.replace("known is not None", "False")),
    )),
    Mutant("memory: an organization gets a new id", "the same", (
        Edit(MEMORY_PUT, MEMORY_ORGANIZATION_ID,
             MEMORY_ORGANIZATION_ID.replace(" if before is None else before.id", "")),
    )),
    Mutant("SQL: conflict without the instance", "the same Clerk id in two instances would be one row", (
        Edit(SCHEMA, IDENTITY_KEY, IDENTITY_KEY.replace("instance, ", "")),
        Edit(SCHEMA, SESSION_KEY, SESSION_KEY.replace("instance, ", "")),
        Edit(SCHEMA, MEMBERSHIP_KEY, MEMBERSHIP_KEY.replace("instance, ", "")),
        Edit(SCHEMA, "UNIQUE (instance, key)", "UNIQUE (key)"),
        Edit(SQL, "ON CONFLICT (instance, key) DO UPDATE", "ON CONFLICT (key) DO UPDATE"),
        Edit(SQL, "ON CONFLICT (instance, key) DO NOTHING", "ON CONFLICT (key) DO NOTHING"),
        Edit(SQL, 'there: str = " (instance, key)"', 'there: str = " (key)"'),
    )),
    Mutant("SQL: found without the instance", "one instance would see another's people", (
        Edit(SQL, "{over} {tied} WHERE i.instance = ? AND", "{over} {tied} WHERE (i.instance = ? OR 1) AND"),
    )),
    Mutant("SQL: memberships without the instance", "one instance would see another's memberships", (
        Edit(SQL, "ON m.instance = i.instance AND", "ON"),
    )),
    Mutant("SQL: an organization without the instance", "one instance would see another's organizations", (
        Edit(SQL, "ON o.instance = i.instance AND", "ON"),
    )),
    Mutant("SQL: all memberships without the instance", "another's would be exported and erased", (
        Edit(SQL, "WHERE m.instance = ? AND m.user_key = ?", "WHERE (m.instance = ? OR 1) AND m.user_key = ?"),
    )),
    Mutant("memory: found without the instance", "one instance would see another's people", (
        Edit(MEMORY_PUT, MEMORY_PLACE, MEMORY_PLACE.replace("record.instance", '""')),
        Edit(MEMORY_READING, MEMORY_FOUND, MEMORY_FOUND.replace("instance", '""')),
    )),
    Mutant("SQL: deletion is not settled", "a user whose person is deleted would stay", (
        Edit(PUTTING, "if record.is_deleted or is_given:", "if is_given:"),
    )),
    Mutant("bulk: what is no better", "a page that comes again would be a change", (
        Edit(PUTTING, "if newer(record, user.clerk):", "if True:"),
    )),
    Mutant("bulk: without roles", "a person in a page would get no role", (
        Edit(PUTTING, "or place in roles:", "or False:"),
    )),
    Mutant("bulk: without the linker", "people in a page would not be linked", (
        Edit(PUTTING, "if new and not self._configuration.has_linker:", "if new:"),
    )),
    Mutant("bulk: deletion is a row", "a user whose person is deleted in a page would stay", (
        Edit(PUTTING, "elif record.is_deleted or", "elif"),
    )),
    Mutant("bulk: an older organization", "what Clerk said before would come back", (
        Edit(PUTTING, "before is not None and newer(record, before.clerk)", "before is not None"),
    )),
    Mutant("bulk: an older membership", "a change would be told that is none", (
        Edit(PUTTING, "if not newer(record, of_both.get(record.key)):", "if False:"),
    )),
    Mutant("bulk: each membership by itself", "of two in a page, the second would not follow the first", (
        Edit(PUTTING, "of_both[record.key] = record  #", "of_both = {**of_both, record.key: record}  #"),
    )),
    Mutant("PostgreSQL: a transaction for each statement", "half of a put that failed would stay", (
        Edit(POSTGRES, "with self._source.transaction(connection) as joins:", "for joins in (False,):"),
    )),
    Mutant("PostgreSQL: no rows are kept from others", "of two writers one would work on what is gone", (
        Edit("repositories/sql/dialects.py", 'locked=" FOR NO KEY UPDATE",', 'locked="",'),
    )),
    Mutant("PostgreSQL: nobody is told", "other processes would keep the old state", (
        Edit(SETUP, "yield self._notify, (payloads,)", 'yield "SELECT 1", ()'),
    )),
    Mutant("SQLite: watchers before the commit", "a reader would keep the old state", (
        Edit(SQLITE, SQLITE_TELLS, "    " + SQLITE_TELLS),
    )),
    Mutant("memory: watchers before the commit", "a watcher that fails would undo what was written", (
        Edit(MEMORY, MEMORY_TELLS, "    " + MEMORY_TELLS),
    )),
    Mutant("memory: nothing is taken back", "half of a put that failed would stay", (
        Edit(MEMORY_TABLES, "                self._undo_all()\n", "                self._undo.clear()\n"),
    )),
    Mutant("SQLite: BEGIN on a file", "two processes that read before they write would fail under load", (
        Edit(CONNECTIONS, 'connection.execute("BEGIN IMMEDIATE")', 'connection.execute("BEGIN")'),
    )),
    Mutant("SQLite: BEGIN on your connection", "the same", (
        Edit(CONNECTIONS, 'ALONE = ("BEGIN IMMEDIATE"', 'ALONE = ("BEGIN"'),
    )),
    Mutant("SQLite: no transaction on a file", "half of a put that failed would stay", (
        Edit(CONNECTIONS, '                    connection.execute("BEGIN IMMEDIATE")\n', ""),
        Edit(CONNECTIONS, '                    connection.execute("COMMIT")\n', ""),
    )),
    Mutant("SQLite: no rollback on a file", "the next writer would go on with what failed", (
        Edit(CONNECTIONS, UNDONE, UNDONE.replace("connection.close()", "self._idle.append(connection)")),
        Edit(CONNECTIONS, '    connection.execute("ROLLBACK")', "    pass"),
    )),
    Mutant("SQLite: no rollback on your connection", "the same", (
        Edit(CONNECTIONS, "for statement in rollback:", "for statement in ():"),
    )),
    Mutant("SQLite: commit for rollback", "half of a put that failed would stay", (
        Edit(CONNECTIONS, '"COMMIT", ("ROLLBACK",))', '"COMMIT", ("COMMIT",))'),
    )),
    Mutant("roles: whatever is named last", "a late word of Clerk's would take a role away", (
        Edit(SQL, GIVE_ROLE, "WHERE id = ? AND (role_rank > ? OR 1) RETURNING id"),
    )),
    Mutant("roles: of the record that stays", "what is put at once would give another role", (
        Edit(CHOICES, "record.rank < known[1]", "record.rank > known[1]"),
    )),
    Mutant("roles: set by you, and taken back", "a role of yours is yours", (
        Edit(SQL, "SET role = ?, role_rank = '' WHERE", "SET role = ?, role_rank = 'x' WHERE"),
    )),
    Mutant("sessions: of any instance", "a session of one instance would end another's", (
        Edit(SQL, "s.instance = i.instance AND s.key = ?", "s.key = ?"),
    )),
    Mutant("sessions: forgotten at once", "a revoked session would go on", (
        Edit(SQL, "FROM {sessions} WHERE rank < ?", "FROM {sessions} WHERE rank > ?"),
    )),
    Mutant("hooks: after the commit", "a hook that fails would undo nothing", (
        Edit(SQLITE, SQLITE_CALLS, "                pass\n"),
    )),
    Mutant("changes: a rejoining is a joining", "a hook would make the same row again", (
        Edit(CONCLUSIONS, "return current_membership(records) or over", "return current_membership(records)"),
    )),
    Mutant("listing: from the last key on", "a thing would be read twice", (
        Edit(SQL, "{said} > (?, ?) ORDER", "{said} >= (?, ?) ORDER"),
    )),
    Mutant("listing: of any instance", "another's people would be taken for missing at Clerk", (
        Edit(READING, "for row in rows if row[0] == instance]", "for row in rows]"),
    )),
    Mutant("listing: in no order", "the next page would leave something out", (
        Edit(SQL, "{said} > (?, ?) ORDER BY instance, key LIMIT", "{said} > (?, ?) ORDER BY rank LIMIT"),
    )),
    Mutant("listing: what tokens say is Clerk's word", "silent webhooks would go unnoticed", (
        Edit(READING, "for grade, (_, _, observed) in grades.items() if grade != FROM_TOKEN)",
             "for _, (_, _, observed) in grades.items())"),
    )),
    Mutant("listing: an address as it is spelled", "an operator would not find somebody", (
        Edit(SQL, "{dialect.folded.format('email')} = ?", "email = ?"),
    )),
    Mutant("listing: a note is kept", "a work would begin anew for ever", (
        Edit(SQL, "DO UPDATE SET text = excluded.text", "DO NOTHING"),
    )),
)  # fmt: skip
