"""What `clerkmap doctor` looks at: one check after the other, each of which builds on those before it.

A check tells what is fine, or raises what is wrong with what to do about it, or why it could not be made.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..core.validation import check_origin, check_secret_key, check_url, check_webhook_secret, read_publishable_key
from ..errors import ApiKeyRefused, ApiUnavailable, ConfigurationError, RepositoryUnavailable
from .options import DATABASE, repository_named

if TYPE_CHECKING:
    import httpx

    from ..clerk.api import ClerkApi
    from ..core.instance import Instance
    from ..core.keys import KeySet
    from ..core.model import Count
    from ..core.records import Kind
    from ..ports import Repository
    from .database import CommandDatabase, DatabaseState


_PAGE = "take it from the API keys page of Clerk's dashboard"
DEADLINE = 5.0  # seconds
MOST_APART = 5.0  # seconds that the verifier forgives
_PROXY = "no proxy is used that an environment variable names"
LATE = 300.0  # seconds that a webhook may be on its way
NEWEST = 20  # people who were changed last
_PROBE = "clerkmap doctor"  # the name of a note that is not there


class Wrong(Exception):
    """What is wrong, and what to do about it."""

    def __init__(self, told: str, remedy: str) -> None:
        super().__init__(told)
        self.remedy = remedy


class Skipped(Exception):
    """Why a check was not made."""


@dataclass
class Case:
    """What is examined, and what has been found out so far. What is None is not to be had.

    `transport` is asked instead of the network.
    """

    environ: Mapping[str, str]
    url: str | None
    clock: Callable[[], float] = time.time
    transport: "httpx.BaseTransport | None" = None
    patience: float = 3

    kind: str | None = None
    publishable_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    jwt_key: str | None = field(default=None, repr=False)
    api_url: str | None = None
    instance: "Instance | None" = None
    keys: "KeySet | None" = None
    api: "ClerkApi | None" = None
    place: "CommandDatabase | None" = None
    found: "DatabaseState | None" = None
    repository: "Repository | None" = None
    counted: "Mapping[Kind, Count] | None" = None
    closing: list[Callable[[], object]] = field(default_factory=list[Callable[[], object]])

    def said(self, name: str) -> str:
        """What a variable says; nothing, if it is not there."""
        return self.environ.get(name, "").strip()


Check = Callable[[Case], str]


# Settings


def publishable_key(case: Case) -> str:
    key = case.said("CLERK_PUBLISHABLE_KEY")
    if not key:
        raise Wrong("CLERK_PUBLISHABLE_KEY is not set", f"Set it: {_PAGE}")
    if key.startswith("sk_"):
        raise Wrong(
            "CLERK_PUBLISHABLE_KEY holds a secret key",
            "Swap the two; if it was ever in a front end, rotate it on the dashboard, for it is no secret any longer",
        )
    try:
        case.kind, host = read_publishable_key(key)
    except ConfigurationError:
        raise Wrong("CLERK_PUBLISHABLE_KEY is cut off, or no publishable key", f"Copy all of it: {_PAGE}") from None
    case.publishable_key = key
    return f"of the {_environment(case.kind)} at {host}; tokens are issued by https://{host}"


def secret_key(case: Case) -> str:
    key = case.said("CLERK_SECRET_KEY")
    if not key:
        raise Skipped("CLERK_SECRET_KEY is not set: tokens and webhooks do without, and sync and diff do not")
    if key.startswith("pk_"):
        raise Wrong("CLERK_SECRET_KEY holds a publishable key", f"Set it to the secret key: {_PAGE}")
    try:
        check_secret_key(key, None)
    except ConfigurationError:
        raise Wrong("CLERK_SECRET_KEY is cut off, or no secret key", f"Copy all of it: {_PAGE}") from None
    kind = key.split("_")[1]
    if case.kind is not None and kind != case.kind:
        raise Wrong(
            f"CLERK_SECRET_KEY is of a {_environment(kind)}, and CLERK_PUBLISHABLE_KEY of a {_environment(case.kind)}",
            "Take both from one page of Clerk's dashboard",
        )
    case.secret_key = key
    return f"of a {_environment(kind)}"


def webhook_secret(case: Case) -> str:
    text = case.said("CLERK_WEBHOOK_SIGNING_SECRET")
    if not text:
        raise Skipped("CLERK_WEBHOOK_SIGNING_SECRET is not set: no webhook can be taken in")
    secrets = [part.strip() for part in text.split(",") if part.strip()]
    for secret in secrets:
        try:
            check_webhook_secret(secret)
        except ConfigurationError:
            raise Wrong(
                "CLERK_WEBHOOK_SIGNING_SECRET is cut off, or no signing secret",
                "Copy all of it, whsec_ included, from the endpoint's page under Webhooks on Clerk's dashboard",
            ) from None
    return "well formed" if len(secrets) == 1 else f"{len(secrets)}, all well formed: one is being rotated"


def authorized_parties(case: Case) -> str:
    text = case.said("CLERK_AUTHORIZED_PARTIES")
    parties = [part.strip() for part in text.split(",") if part.strip()]
    if not parties:
        raise Skipped("CLERK_AUTHORIZED_PARTIES is not set: tokens made for any front end are accepted")
    for party in parties:
        try:
            check_origin("CLERK_AUTHORIZED_PARTIES", party)
        except ConfigurationError as error:
            raise Wrong("CLERK_AUTHORIZED_PARTIES names what is no origin", str(error)) from None
    return ", ".join(parties)


def api_address(case: Case) -> str:
    url = case.said("CLERK_API_URL") or "https://api.clerk.com"
    try:
        check_url("CLERK_API_URL", url)
    except ConfigurationError:
        raise Wrong(
            "CLERK_API_URL is no plain https:// URL",
            "Leave it out for Clerk's own API; only on this machine may it be http://",
        ) from None
    case.api_url = url.rstrip("/").removesuffix("/v1")
    return case.api_url


def jwt_key(case: Case) -> str:
    key = case.said("CLERK_JWT_KEY")
    if not key:
        raise Skipped("CLERK_JWT_KEY is not set: the keys are fetched, and a rotated one is noticed")
    from ..core.instance import Instance

    try:
        Instance(issuer="https://clerk.example.com", jwt_key=key)
    except ConfigurationError:
        raise Wrong(
            "CLERK_JWT_KEY is neither a PEM public key nor a readable file with one",
            "Copy all of it, from BEGIN to END, from the API keys page; or leave it out to have the keys fetched",
        ) from None
    case.jwt_key = key
    return "a public key; tokens are verified with it, and nothing is fetched"


def _environment(kind: str) -> str:
    return "production environment" if kind == "live" else "development environment"


# Clerk


def keys(case: Case) -> str:
    """The keys that tokens are verified with."""
    if case.publishable_key is None:
        raise Skipped("without the publishable key nobody knows where they are")
    from ..core.instance import Instance

    case.instance = Instance(
        publishable_key=case.publishable_key,
        secret_key=case.secret_key,
        jwt_key=case.jwt_key,
        api_url=case.api_url or "https://api.clerk.com",
    )
    if case.instance.local_keys is not None:
        case.keys = case.instance.local_keys
        return "at hand, in CLERK_JWT_KEY"
    if case.said("CLERK_JWT_KEY"):
        raise Skipped("CLERK_JWT_KEY takes their place, and has to be mended first")
    case.keys = _published(case, case.instance)
    if not case.keys:
        raise Wrong(
            f"the keys cannot be fetched from {case.instance.jwks_url}",
            f"See whether this machine reaches that address ({_PROXY}), or set CLERK_JWT_KEY",
        )
    return f"fetched from {case.instance.jwks_url}"


def api(case: Case) -> str:
    """Whether the API can be reached, and takes the secret key."""
    if case.api_url is None:
        raise Skipped("its address has to be mended first")
    if case.instance is None or case.secret_key is None:
        raise Skipped("it is asked with the secret key, of the instance of the publishable key")
    from ..clerk import endpoints
    from ..clerk.api import ClerkApi

    asked = ClerkApi(case.instance, transport=case.transport, timeout=DEADLINE, patience=case.patience)
    case.closing.append(asked.close)
    try:
        asked.ask(endpoints.jwks())
    except ApiKeyRefused:
        raise Wrong(
            "Clerk does not know the secret key",
            "It was revoked, or is another one's: take CLERK_SECRET_KEY from the API keys page of Clerk's dashboard",
        ) from None
    except ApiUnavailable as error:
        if error.status in (0, 429) or error.status >= 500:
            raise Wrong(
                f"{case.api_url} did not answer as it should ({error})",
                f"See whether this machine reaches it ({_PROXY}), and https://status.clerk.com",
            ) from None
        raise Wrong(
            f"{case.api_url} is not Clerk's API", "Leave CLERK_API_URL out for Clerk's own; a proxy may be in between"
        ) from None
    case.api = asked
    return f"{case.api_url} takes the secret key"


def same_instance(case: Case) -> str:
    """Whether the secret key is the same instance's as the publishable key."""
    if case.api is None or case.instance is None or not case.keys:
        raise Skipped("needs the keys and an answer of the API")
    from ..clerk import endpoints
    from ..core.keys import import_jwks

    said = case.api.ask(endpoints.jwks())
    shown = import_jwks(said, case.instance.algorithms)
    if _common(case.keys, shown):
        return "secret key and signing keys are one instance's"
    if case.jwt_key is None:
        raise Wrong(
            "the secret key's instance has other signing keys than the publishable key's publishes: they are of "
            "different instances, or the keys are being rotated",
            "Compare both with one page of Clerk's dashboard; right after a rotation, look again in some minutes",
        )
    published = _published(case, case.instance)
    if _common(published, shown):
        raise Wrong(
            "CLERK_JWT_KEY has been rotated, or is another instance's: the other two keys belong together",
            "Copy it anew from the API keys page; or leave it out to have the keys fetched",
        )
    if _common(published, case.keys):
        raise Wrong(
            "the secret key is another instance's than the publishable key",
            "Take both from one page of Clerk's dashboard",
        )
    raise Wrong(
        "CLERK_JWT_KEY is not among the signing keys of the secret key's instance: it has been rotated, or the two are "
        "of different instances",
        "Copy CLERK_JWT_KEY anew from the API keys page, or leave it out; if it is the same, take the secret key from "
        "that page, too",
    )


def clock(case: Case) -> str:
    """Whether this machine's clock says what Clerk's does. No key is sent for that."""
    if case.api_url is None:
        raise Skipped("the API's address has to be mended first")
    import httpx

    before = case.clock()
    try:
        with httpx.Client(
            transport=case.transport, timeout=DEADLINE, follow_redirects=False, trust_env=False
        ) as client:
            answer = client.get(f"{case.api_url}/v1/jwks")
    except httpx.HTTPError:
        raise Skipped(f"{case.api_url} cannot be reached") from None
    after = case.clock()
    try:
        theirs = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (ValueError, TypeError):
        raise Skipped("the API did not say what time it is") from None
    apart = max(before - (theirs + 1), theirs - after, 0)  # a date has no fractions of seconds
    if apart <= MOST_APART:
        if _is_here(case.api_url):
            raise Skipped("the API runs on this machine, and has its clock")
        return "says what Clerk's does, to a few seconds"
    from .formatting import span

    raise Wrong(
        f"this machine's clock is {span(apart)} {'ahead of' if before > theirs else 'behind'} Clerk's",
        "Tokens and webhooks are refused for it: have the clock set by the network (NTP)",
    )


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def _published(case: Case, instance: "Instance") -> "KeySet | None":
    """The keys that the front-end API publishes, if they can be had."""
    from ..clerk.jwks import fetch_jwks
    from ..core.keys import import_jwks

    try:
        return import_jwks(fetch_jwks(instance, case.transport, DEADLINE), instance.algorithms)
    except Exception:  # noqa: BLE001 - any failure of the fetch means that the keys cannot be had
        return None


def _common(some: "KeySet | None", others: "KeySet | None") -> bool:
    return some is not None and others is not None and some.shares_a_key(others)


# Database


def database(case: Case) -> str:
    """Whether it is there."""
    from .database_names import database as named

    if not (case.url or "").strip() and repository_named() is None:
        raise Skipped(f"{DATABASE} is not set, and neither --database nor --repository is given")
    try:
        case.place = named(case.url, repository_named())
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


# In order: a check builds on those before it.
CHECKS: dict[str, Check] = {
    "publishable key": publishable_key,
    "secret key": secret_key,
    "webhook secret": webhook_secret,
    "front ends": authorized_parties,
    "API address": api_address,
    "JWT key": jwt_key,
    "keys": keys,
    "API": api,
    "same instance": same_instance,
    "clock": clock,
    "database": database,
    "tables": tables,
    "webhooks": webhooks,
    "counts": counts,
    "outbox": outbox,
}
