"""Histories: small worlds in which seven real events get in each other's way, and how a state becomes bytes.

An event is a body as Clerk sends it, so what is tried begins where a delivery does. There are few people, few
organizations and few different times: ties, late arrivals and deletions come up in nearly every history. No Clerk
would tell all of that, nor a made-up one: so the events are the kit's shapes with other ids, times and values in them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from random import Random
from typing import Any

from clerkmap import Event, Repository
from clerkmap.core.records import COLUMNS, AnyRecord, key_of
from sample_bodies import ACME, ANN, BEA, MS, NAME, address, event, membership, organization, user

LENGTH = 7
PEOPLE = (ANN, BEA)
ORGANIZATIONS = (ACME, "org_2betaBetaBeta")
INSTANCES = (NAME, "clerk.elsewhere.example")
ADDRESSES = ("one@example.com", "two@example.com")
SLUGS = ("acme", "beta")
ROLES = ("org:member", "org:admin")
METADATA: tuple[dict[str, Any], ...] = ({}, {"role": "support"}, {"role": "owner", "plan": 2}, {"role": None})


def id_at(instance: str, key: str) -> str:
    """Your id of a thing: the whole key, so that no two of very many things collide."""
    return f"id/{instance}/{key}"


OPTIONS: dict[str, Any] = {"ids": lambda record: id_at(record.instance, record.key), "clock": lambda: 1.0}


@dataclass(frozen=True)
class History:
    """Seven events, the instance of each, and the records of each, read once."""

    name: str
    events: tuple[Event, ...]
    instances: tuple[str, ...]
    records: tuple[list[AnyRecord], ...]


class Author:
    """Makes up events. All of its choices come from one seeded generator."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._choose = random.choice
        self.person: str = self._choose(PEOPLE)
        self.company: str = self._choose(ORGANIZATIONS)

    def at(self) -> int:
        """One of four times: there will be ties."""
        return MS + self._random.randrange(4)

    def user(self, clerk_id: str | None = None, *, at: int | None = None, **said: Any) -> Event:
        """A person, updated; or glimpsed in a session, or just created."""
        at = self.at() if at is None else at
        chosen: dict[str, Any] = {
            "first_name": self._choose(("Ann", "Anna", None)),
            "email_addresses": [address(email=self._choose(ADDRESSES))],
            "banned": self._random.random() < 0.3,
            "public_metadata": self._choose(METADATA),
            **said,
        }
        data = user(clerk_id or self.person, at=at, **chosen)
        type_ = self._choose(("user.created", "user.updated", "user.updated", "session.created", "session.revoked"))
        told_at = at + self._choose((0, 0, 1))
        if type_.startswith("session."):
            data = {"id": f"sess_{self._random.randrange(3)}", "user": data}
        return event(type_, data, timestamp=told_at)

    def organization(self, clerk_id: str | None = None, **said: Any) -> Event:
        """An organization, created or updated."""
        at = self.at()
        chosen = {"name": self._choose(("Acme", "Beta")), "slug": self._choose(SLUGS), **said}
        chosen["public_metadata"] = self._choose(METADATA)
        type_ = self._choose(("organization.created", "organization.updated"))
        return event(type_, organization(clerk_id or self.company, at=at, **chosen), timestamp=at)

    def member(self, spell: int = 1, *, verb: str = "updated", at: int | None = None, **said: Any) -> Event:
        """The person's membership: each spell in the organization has an id of its own."""
        at = self.at() if at is None else at
        clerk_id = f"orgmem_{self.person[-3:]}{self.company[-3:]}{spell}"
        inner = organization(self.company, at=self.at(), slug=self._choose(SLUGS))
        data = membership(clerk_id, at=at, user_id=self.person, **{"role": self._choose(ROLES), **said})
        return event(f"organizationMembership.{verb}", {**data, "organization": inner}, timestamp=at + (verb[0] == "d"))

    def anything(self) -> Event:
        """Any event about anybody."""
        self.person, self.company = self._choose(PEOPLE), self._choose(ORGANIZATIONS)
        kind = self._random.randrange(10)
        if kind < 4:
            return self.user()
        if kind < 6:
            return self.organization()
        if kind < 9:
            return self.member(self._choose((1, 2)), verb=self._choose(("created", "updated", "deleted")))
        return self._choose((self.death, self.end))()[-1]

    def tie(self) -> list[Event]:
        """Two words of one millisecond on one person."""
        at = self.at()
        return [self.user(at=at, first_name=name, banned=name == "Ann") for name in ("Ann", "Anna")]

    def death(self) -> list[Event]:
        """An account that is deleted, and told of once more."""
        return [self.user(), event("user.deleted", {"id": self.person, "deleted": True}, timestamp=self.at())]

    def end(self) -> list[Event]:
        """The same with an organization."""
        return [self.organization(), event("organization.deleted", {"id": self.company}, timestamp=self.at())]

    def rejoining(self) -> list[Event]:
        """Joined, left, and joined again."""
        return [self.member(1, verb="created"), self.member(1, verb="deleted"), self.member(2, verb="created")]

    def leaving(self) -> list[Event]:
        """Joined, left, and a word on it that is told late."""
        return [self.member(1, verb="created"), self.member(1, verb="deleted"), self.member(1)]

    def ban(self) -> list[Event]:
        """Shut out and let in again."""
        return [self.user(at=MS + 1, banned=True), self.user(at=MS + 2, banned=False)]

    def promotion(self) -> list[Event]:
        """One membership, two roles."""
        return [self.member(at=MS + number, role=role) for number, role in enumerate(ROLES)]

    def moving_slug(self) -> list[Event]:
        """A slug that one organization gives up and the other takes."""
        one, other = ORGANIZATIONS
        return [self.organization(one, slug="acme"), self.organization(one, slug="x"), self.organization(other)]

    def moving_address(self) -> list[Event]:
        """An address that one person gives up and the other takes."""
        mail: dict[str, Any] = {"email_addresses": [address(email="moving@example.com")]}
        return [self.user(ANN, **mail), self.user(ANN), self.user(BEA, **mail)]


THEMES: tuple[Callable[[Author], list[Event]], ...] = (
    Author.tie, Author.death, Author.rejoining, Author.ban, Author.promotion, Author.moving_slug, Author.leaving,
    Author.moving_address, Author.end,
)  # fmt: skip


def history(seed: str, number: int) -> History:
    """The history of that number: two themes, the first in turn, and whatever else happens. Always seven events."""
    random = Random(f"{seed}/{number}")
    author = Author(random)
    events = [*THEMES[number % len(THEMES)](author), *random.choice(THEMES)(author)]
    while len(events) < LENGTH:
        events.append(author.anything())
    # In one history of five the same ids come up in two instances: two worlds that must not touch.
    instances = tuple(random.choice(INSTANCES) if number % 5 == 0 else NAME for _ in events)
    records = tuple(each.records(instance) for each, instance in zip(events, instances, strict=True))
    return History(f"CLERKMAP_SEED={seed}, history {number}", tuple(events), instances, records)


# A repr of what clerkmap keeps is redacted, so the fields are named here: all of Clerk's, and all of yours.
_user = attrgetter("id", "role", "created_at", "deleted_at", *(f"clerk.{name}" for name in COLUMNS["user"]))
_organization = attrgetter("id", *(f"clerk.{name}" for name in COLUMNS["organization"]))
_membership = attrgetter(*COLUMNS["membership"])
Row = tuple[Any, ...]


def shown(
    repository: Repository, instance: str, people: Iterable[str], companies: Iterable[str], pairs: Iterable[Row]
) -> Iterator[Row]:
    """All that a repository shows of these, by your ids and by Clerk's, as plain tuples of plain values."""
    for person in people:
        user = repository.user(id_at(instance, key_of(person)))
        yield instance, person, user and _user(user)
    for company in companies:
        organization = repository.organization(id_at(instance, key_of(company)))
        yield instance, company, organization and _organization(organization)
    for pair in pairs:
        found = repository.find(instance, *pair)
        if found is not None:
            rows = [_membership(each) for each in found.memberships]
            yield instance, *pair, _user(found.user), found.organization and _organization(found.organization), rows


PAIRS = [(person, company) for person in PEOPLE for company in ORGANIZATIONS]


def state(repository: Repository, instances: Iterable[str]) -> bytes:
    """What a repository shows of everybody in the small world: the same state, the same bytes.

    A literal of Python's own tells 1 from True from "1", and None from nothing.
    """
    return repr([list(shown(repository, each, PEOPLE, ORGANIZATIONS, PAIRS)) for each in instances]).encode()


def greatest(records: Iterable[AnyRecord]) -> set[tuple[str, str, str]]:
    """The rule said once more, without the code that is tested: of each thing the greatest rank that was ever put."""
    ranks: dict[tuple[str, str], str] = {}
    for record in records:
        if record.kind not in ("user", "organization", "membership"):
            continue
        place = (record.instance, record.key)
        ranks[place] = max(record.rank, ranks.get(place, ""))
    return {(*place, rank) for place, rank in ranks.items()}


def kept(repository: Repository, instances: Iterable[str]) -> set[tuple[str, str, str]]:
    """The places and ranks that a repository shows."""
    things: list[AnyRecord] = []
    for instance in instances:
        users = (repository.user(id_at(instance, key_of(each))) for each in PEOPLE)
        companies = (repository.organization(id_at(instance, key_of(each))) for each in ORGANIZATIONS)
        standings = (repository.find(instance, *pair) for pair in PAIRS)
        things += [each.clerk for each in users if each is not None]
        things += [each.clerk for each in companies if each is not None]
        things += [record for each in standings if each is not None for record in each.memberships]
    return {(record.instance, record.key, record.rank) for record in things}
