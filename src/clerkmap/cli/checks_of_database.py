"""What your database says: whether it is there, whether the tables are, and how fresh what is in them is."""

from ..errors import ConfigurationError, RepositoryUnavailable
from .checks import Case, Check, Skipped, Wrong

LATE = 300.0  # seconds that a webhook may be on its way
NEWEST = 20  # people who were changed last
_PROBE = "clerkmap doctor"  # the name of a note that is not there


def database(case: Case) -> str:
    """Whether it is there."""
    from .databases import database
    from .options import DATABASE, repository_named

    if not (case.url or "").strip() and repository_named() is None:
        raise Skipped(f"{DATABASE} is not set, and neither --database nor --repository is given")
    try:
        case.place = database(case.url)
        case.found = case.place.look()
    except ImportError as missing:
        raise Wrong("the database's driver is not installed", str(missing)) from None
    except ConfigurationError as error:
        raise Wrong(_without_label(error), f"Set {DATABASE}, or --database, to where it is") from None
    except RepositoryUnavailable as error:
        raise Wrong(
            _without_label(error), f"See whether it runs, and compare {DATABASE} with what your application uses"
        ) from None
    if not case.found.exists:
        shown, case.found = case.place.shown, None
        raise Wrong(
            f"there is no file {shown}",
            f"Correct the path in {DATABASE}, or make the file with `clerkmap migrate --create`",
        )
    return case.place.shown


def tables(case: Case) -> str:
    """Whether the tables are those of this version."""
    if case.place is None or case.found is None:
        raise Skipped("needs a database")
    try:
        case.place.check(case.found)
    except ConfigurationError as error:
        told, _, remedy = _without_label(error).partition(": ")
        raise Wrong(told, remedy) from None
    repository = case.place.open(case.found, writes=False)
    case.closing.append(repository.close)
    try:
        repository.checkpoint(_PROBE)
        is_writable = case.place.check_writable()
    except (ConfigurationError, RepositoryUnavailable) as error:
        raise Wrong(
            _without_label(error),
            "Run this as the user that your application runs as, and let that user write to the file and its folder, "
            "or to the tables",
        ) from None
    case.repository = repository
    if not is_writable:
        return "the repository answers; whether it can be written to, only the application can tell"
    kept = f", with ids of type {case.found.id_type}" if case.found.id_type else ""
    return f"at schema version {case.found.version}{kept}; they can be written to"


def webhooks(case: Case) -> str:
    """Whether the newest changes at Clerk are in the database."""
    if case.repository is None or case.instance is None:
        raise Skipped("needs the tables and the publishable key")
    from .formatting import moment, span

    now = case.clock()
    case.counted = case.repository.counts(case.instance.name)
    told = [count.observed_at for count in case.counted.values()]
    last = max((each for each in told if each is not None), default=None)
    if last is None:
        raise Wrong(
            f"the database has nothing from Clerk of {case.instance.name} yet",
            "Add an endpoint under Webhooks on Clerk's dashboard, and bring what is there with `clerkmap sync`",
        )
    # A record does not say how it came: by a webhook, a backfill, or a look-up for a linker.
    heard = f"newest data from Clerk, by webhook, sync or API: {moment(last, now)}"
    if case.api is None:
        return f"{heard}; whether anything is missing, only the API can tell"
    from ..clerk import endpoints
    from ..core.events import Unreadable, records_of
    from ..core.records import FULL

    for row in case.api.ask(endpoints.users(order_by="-updated_at", limit=NEWEST)):
        try:
            said = records_of("user", case.instance.name, row, int(now * 1000))[0]
        except Unreadable:
            continue
        stored = case.repository.record("user", said.instance, said.key)
        changed_at = (said.updated_at or 0) / 1000
        is_known = stored is not None and stored.grade >= FULL
        is_newer = stored is not None and (stored.updated_at or 0) >= (said.updated_at or 0)
        if now - changed_at > LATE and not (
            is_known and stored is not None and (stored.is_deleted or is_newer or stored.said() == said.said())
        ):
            raise Wrong(
                f"a user was changed at Clerk {span(now - changed_at)} ago, and the change is not in the database",
                "See the endpoint's page under Webhooks on Clerk's dashboard for what your application answered; "
                "`clerkmap sync` mends what was lost",
            )
    return heard


def counts(case: Case) -> str:
    """Whether there is as much here as there is at Clerk."""
    if case.counted is None or case.api is None:
        raise Skipped("needs the tables and an answer of the API")
    from ..clerk import endpoints

    users, organizations = case.counted["user"], case.counted["organization"]
    rows = [
        ("users", case.api.ask(endpoints.user_count()), users.alive, users.deleted),
        ("organizations", case.api.ask(endpoints.organizations(limit=1)).total, organizations.alive, 0),
    ]
    if not users.deleted and not organizations.deleted:  # the memberships of who is gone stay, and do not count
        theirs = case.api.ask(endpoints.memberships(limit=1)).total
        rows.append(("memberships", theirs, case.counted["membership"].told, 0))
    # Whom you have erased yourself, Clerk still has.
    apart = [
        f"{theirs:,} {what} at Clerk, and {ours:,} here"
        for what, theirs, ours, erased in rows
        if not 0 <= theirs - ours <= erased
    ]
    if apart:
        raise Wrong("; ".join(apart), "See what differs with `clerkmap diff`, and mend it with `clerkmap sync`")
    return "as at Clerk: " + ", ".join(f"{ours:,} {what}" for what, _, ours, _ in rows)


def outbox(case: Case) -> str:
    """Whether what is to go back to Clerk gets there."""
    if case.repository is None or case.instance is None:
        raise Skipped("needs the tables and the publishable key")
    from .formatting import span

    outbox_entry = case.repository.outbox(case.instance.name)
    failed = [each.error for each in outbox_entry if each.error is not None]
    if failed:
        raise Wrong(
            f"{len(failed):,} could not be written back, the first for {failed[0]}",
            "See them with `clerkmap outbox list`; when the cause is mended, `clerkmap outbox retry` and `drain`",
        )
    overdue = case.clock() - outbox_entry[0].due_at / 1000 if outbox_entry else 0.0
    if overdue > LATE:
        raise Wrong(
            f"{len(outbox_entry):,} wait to be written back, the first for {span(overdue)}: nobody sends it",
            "Run an OutboxWorker in your application, or `clerkmap outbox drain` now and then",
        )
    return f"{len(outbox_entry):,} wait to be written back" if outbox_entry else "nothing waits to be written back"


def _without_label(error: Exception) -> str:
    """What is wrong, without the word for what kind of error it is."""
    return str(error).partition(": ")[2] or str(error)


CHECKS: dict[str, Check] = {
    "database": database,
    "tables": tables,
    "webhooks": webhooks,
    "counts": counts,
    "outbox": outbox,
}
