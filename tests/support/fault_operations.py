"""The operations that `test_faults` tries with a fault at each of their statements: one line each, in `OPERATIONS`."""

import sqlite3
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from clerkmap import Change, LinkRefused, Reconciler, Resolver, Verifier
from clerkmap.core.admission import new_records_of_token
from clerkmap.core.records import AnyRecord, ClerkOrganization, ClerkSession, ClerkUser
from clerkmap.repositories import SqliteRepository
from clerkmap.testing import Clock, FakeClerk
from clerkmap.testing.samples import ACME, ANN, BEA, HERE, by_key, company, left, member, person
from sample_bodies import NOW, reconciler, sample

CLERK = FakeClerk(seed=5, clock=Clock(NOW))
ADA = CLERK.create_user()
TOKEN = CLERK.token(ADA, CLERK.create_organization(created_by=ADA))
FROM_TOKEN: list[AnyRecord] = new_records_of_token(CLERK.verifier().verify(TOKEN), None)
ALL: list[AnyRecord] = [person(BEA), person(), company("org_other"), company(), member(), member("orgmem_2", user=BEA)]
NEWER: list[AnyRecord] = [person(at=2, first_name="Ann"), company(at=2, name="Acme"), member(at=2, role="org:admin")]
NOBODY = ClerkUser.deleted(HERE, ANN, observed_at=9)
NOTHING = ClerkOrganization.deleted(HERE, ACME, observed_at=9)
MY_ANN, MY_ACME = by_key(person()), by_key(company())


SIGNED_OUT = ClerkSession.deleted(HERE, "sess_1", observed_at=9)
NAMING = person(public_metadata='{"role": "editor"}')


def hear(change: Change, tx: sqlite3.Connection | Connection | Session) -> None:
    """A hook that writes to a table of its own, in the very transaction."""
    connection = tx.connection() if isinstance(tx, Session) else tx
    execute: Any = connection.exec_driver_sql if isinstance(connection, Connection) else connection.execute
    execute("CREATE TABLE IF NOT EXISTS clerkmap_heard (made INTEGER, keys TEXT)")
    execute("INSERT INTO clerkmap_heard VALUES (?, ?)", (change.made, " ".join(change.touches)))


def once(do: Callable[[Any], object]) -> Callable[[Any], None]:
    """What cannot be done again, for then it is not as it was: it was done the first time."""

    def do_once(repository: Any) -> None:
        with suppress(LinkRefused):
            do(repository)

    return do_once


def resolver(repository: SqliteRepository) -> Resolver:
    return Resolver(CLERK.instance, repository, verifier=Verifier(CLERK.instance, clock=CLERK.clock))


def receive(name: str) -> Callable[[Reconciler], object]:
    """To take in a sample delivery."""
    return lambda ours: ours.receive(sample(name).headers, sample(name).body)


@dataclass(frozen=True)
class Operation:
    """Something to do: what was put before it, what is done, and what with: `repository`, or what `using` makes of it.

    `opens`: the repository is opened as a part of it. `given` is None: the file is empty. `noted`: the notes that were
    written before it. `tells`: whether watchers are told of what it changes. `not_by`: the ways in which no statement
    of it passes where faults are made.
    """

    name: str
    do: Callable[[Any], object]
    given: Collection[AnyRecord] | None = ()
    using: Callable[[SqliteRepository], Any] = lambda repository: repository
    opens: bool = False
    noted: Collection[str] = ()
    tells: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    not_by: Collection[str] = ()


def put(name: str, *records: AnyRecord, given: Collection[AnyRecord] = (), **options: Any) -> Operation:
    return Operation(f"put {name}", lambda repository: repository.put(records), given, options=options)


OPERATIONS = [
    Operation("open an empty file", lambda repository: None, given=None, opens=True),
    Operation("open a file with tables", lambda repository: None, given=ALL, opens=True),
    put("a new person", person()),
    put("a new person who is linked", person(), linker=lambda record: "mine"),
    put("a new person with a number for an id", person(), ids=int, first_id=1),
    put("a known person", person(at=2), given=ALL),
    put("a person who is gone", NOBODY, given=ALL),
    put("a stranger who is gone", NOBODY),
    put("a new organization", company()),
    put("a known organization", company(at=2), given=ALL),
    put("an organization that is gone", NOTHING, given=ALL),
    put("a new membership", member()),
    put("a known membership", member(at=2), given=ALL),
    put("a membership that was left", left(at=9), given=ALL),
    put("all at once", *ALL),
    put("all at once, again and newer", *ALL, *NEWER, given=ALL),
    put("all that is gone", NOBODY, NOTHING, left(at=9), given=ALL),
    put("nothing new", *ALL, given=ALL),
    Operation("find a person", lambda repository: repository.find(HERE, ANN), ALL),
    Operation("find a member", lambda repository: repository.find(HERE, ANN, ACME), ALL),
    Operation("find nobody", lambda repository: repository.find(HERE, ANN, ACME)),
    Operation("user", lambda repository: repository.user(MY_ANN), ALL),
    Operation("organization", lambda repository: repository.organization(MY_ACME), ALL),
    Operation("link somebody new", lambda repository: repository.link(HERE, ANN, "mine")),
    Operation("link somebody to a known user", lambda r: r.link(HERE, "user_2", MY_ANN, shared=True), ALL),
    Operation("link somebody to a user who is gone", lambda r: r.link(HERE, "user_2", MY_ANN, shared=True), [NOBODY]),
    Operation("link somebody again", lambda repository: repository.link(HERE, ANN, MY_ANN), ALL),
    Operation("link to a user who is told of", lambda r: r.link(HERE, "user_2", MY_ANN, shared=True), [NAMING]),
    Operation("set a role", lambda repository: repository.set_role(MY_ANN, "admin"), ALL),
    Operation("unlink", once(lambda r: r.unlink(HERE, ANN, 1)), ALL, options={"ids": int, "first_id": 1}),
    Operation("relink", once(lambda r: r.relink(HERE, ANN, MY_ANN, to=by_key(person(BEA)))), ALL),
    Operation(
        "relink the last of a user", once(lambda r: r.relink(HERE, ANN, MY_ANN, to=by_key(person(BEA)))), [*ALL, NOBODY]
    ),
    Operation("export", lambda repository: repository.export(MY_ANN), ALL),
    Operation("erase", lambda repository: repository.erase(MY_ANN), ALL),
    put("a person with a role", NAMING),
    put("a known person with a first role", NAMING, given=[person(at=9)]),
    put("a session that is over", SIGNED_OUT, given=ALL),
    put("a session that is over, again", SIGNED_OUT, given=[SIGNED_OUT]),
    put("all at once, with a hook", *ALL, hooks=[hear]),
    Operation(
        "receive a membership, with a hook",
        receive("organizationMembership.created"),
        (),
        reconciler,
        options={"hooks": [hear]},
    ),
    Operation(
        "resolve at first sight, with a hook", lambda r: r.resolve(TOKEN), (), resolver, options={"hooks": [hear]}
    ),
    Operation("list a page", lambda repository: repository.records("membership", HERE, limit=1), ALL),
    Operation("find a record", lambda repository: repository.record("user", HERE, person().key), ALL),
    Operation("count", lambda repository: repository.counts(HERE), ALL),
    Operation("search for an id", lambda repository: repository.users(ANN), ALL),
    Operation("search for a name", lambda repository: repository.users("nobody"), ALL),
    Operation("read a note", lambda repository: repository.checkpoint("sync"), noted=["sync"]),
    Operation("checkpoint", lambda repository: repository.set_checkpoint("sync", "page 7"), tells=False),
    Operation("note anew", lambda r: r.set_checkpoint("sync", "page 7"), noted=["sync", "other"], tells=False),
    Operation("remove a note", lambda r: r.set_checkpoint("sync", None), noted=["sync", "other"], tells=False),
    Operation("poll", lambda repository: repository.poll(), ALL, not_by=["your transaction", "your session"]),
    Operation("resolve at first sight", lambda resolver: resolver.resolve(TOKEN), using=resolver),
    Operation("resolve somebody known", lambda resolver: resolver.resolve(TOKEN), FROM_TOKEN, resolver),
    Operation("receive a user", receive("user.created"), using=reconciler),
    Operation("receive a membership", receive("organizationMembership.created"), using=reconciler),
    Operation("receive a membership again", receive("organizationMembership.updated"), using=reconciler),
    Operation("receive the end of a membership", receive("organizationMembership.deleted"), using=reconciler),
    Operation("receive a deletion", receive("user.deleted"), using=reconciler),
]
