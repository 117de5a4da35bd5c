"""Made-up lives at a made-up Clerk, and what a repository must know of them once some of their webhooks have arrived.

A story keeps a picture of everything at each event. Whatever a repository says of a thing must be in one of those
pictures; and once the last event about a thing has arrived, it must be the picture of now.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from clerkmap import Reconciler, Repository
from clerkmap.core.merging import current_membership
from clerkmap.core.records import FULL
from clerkmap.testing import (
    ClerkRefuses,
    Clock,
    FakeClerk,
    FakeInvitation,
    FakeMembership,
    FakeOrganization,
    FakeSession,
    FakeUser,
)

SessionEnd = Literal["ended", "removed", "revoked"]
NOW = 1_790_000_000
NAMES = ("Ann", "Bea", None)
EMAILS = tuple(f"{name}@example.com" for name in ("ann", "bea", "cid", "dee"))
ROLES = ("org:member", "org:admin", "org:editor")
OVER: tuple[SessionEnd, ...] = ("ended", "removed", "revoked")
Thing = tuple[str, ...]  # a kind, and its ids at Clerk
Picture = dict[Thing, Any]


@dataclass
class Story:
    """A made-up Clerk, everybody and everything it ever had, and the picture of all of it at each event."""

    clerk: FakeClerk
    users: list[FakeUser] = field(default_factory=list[FakeUser])
    organizations: list[FakeOrganization] = field(default_factory=list[FakeOrganization])
    invitations: list[FakeInvitation] = field(default_factory=list[FakeInvitation])
    sessions: list[FakeSession] = field(default_factory=list[FakeSession])
    pictures: dict[str, Picture] = field(default_factory=dict[str, Picture])
    last: dict[Thing, str] = field(default_factory=dict[Thing, str])

    @classmethod
    def begin(cls, seed: int) -> "Story":
        """A story in which nothing has happened yet."""
        story = cls(FakeClerk(seed, clock=Clock(NOW)))
        story.clerk.wire.watch(story._look)
        return story

    def act(self, choose: Random) -> None:
        """Something happens, and is told. Where Clerk refuses it, nothing may have happened."""
        before, told = self.picture(), len(self.clerk.wire.messages)
        try:
            choose.choice(ACTIONS)(self, choose)
            assert self.picture() == before or len(self.clerk.wire.messages) > told
        except ClerkRefuses:
            assert (self.picture(), len(self.clerk.wire.messages)) == (before, told)
        self.clerk.clock.advance(choose.choice((0, 0, 1, 3600)))

    def picture(self) -> Picture:
        """All that is so now, in the words of a repository."""
        clerk = self.clerk
        facts: Picture = {("user", each.id): facts_of_user(each) for each in clerk.users.values()}
        facts |= {("organization", each.id): (each.name, each.slug) for each in clerk.organizations.values()}
        facts |= {("membership", each.organization_id, each.user_id): each.role for each in clerk.memberships.values()}
        over = [each for each in self.sessions if each.status in OVER]
        return facts | {("session", each.user_id, each.id): True for each in over}

    def _look(self) -> None:
        for message in self.clerk.wire.messages.values():
            if message.id not in self.pictures:
                self.pictures[message.id] = self.picture()
                thing = thing_of(message.type, json.loads(message.body)["data"])
                if thing is not None:
                    self.last[thing] = message.id

    def deliver(self, reconciler: Reconciler, chance: Random, drop: float) -> None:
        """Deliver everything, shuffled, twice and late, to an application that is down now and then."""
        wire = self.clerk.wire
        while waiting := [each.due for each in wire.messages.values() if each.state == "waiting"]:
            self.clerk.clock.advance(max(0.0, min(waiting) - self.clerk.clock()))
            for delivery in self.clerk.deliveries(shuffle=True, duplicate=0.3, late=0.3, drop=drop):
                if chance.random() < 0.3:
                    delivery.failed(chance.choice((500, 302, 404, None)))
                else:
                    reconciler.receive(delivery.headers, delivery.body)

    def check(self, repository: Repository) -> None:
        """Everything a repository knows must be so, or have been so before; and so now, if it could have heard."""
        now = self.picture()
        arrived = {each.id for each in self.clerk.wire.messages.values() if each.state == "delivered"}
        for thing, message in self.last.items():
            if ends_with_another(thing, now):
                continue  # Clerk does not say what became of it: its person or its organization is gone
            known = self._known(repository, thing)
            if message in arrived:
                assert known == now.get(thing), thing
            elif known is not None:
                pictures = [picture.get(thing) for picture in self.pictures.values()]
                assert known in pictures or is_glimpse_of(known, pictures), thing

    def _known(self, repository: Repository, thing: Thing) -> Any:
        """What a repository says of a thing. None where it knows of none, or of its end."""
        name = self.clerk.instance.name
        kind, *ids = thing
        if kind == "user":
            standing = repository.find(name, ids[0])
            clerk = standing.user.clerk if standing is not None else None
            if clerk is None or clerk.is_deleted:
                return None
            if clerk.grade != FULL:
                return Glimpse((clerk.first_name, clerk.last_name))
            profile = (clerk.email, clerk.email_verified, clerk.first_name, clerk.last_name, clerk.external_id)
            return (*profile, clerk.banned, json.loads(clerk.public_metadata), clerk.created_at)
        if kind == "organization":
            found = [repository.find(name, user.id, ids[0]) for user in self.users]
            organization = next((each.organization for each in found if each is not None), None)
            if organization is None or organization.clerk.is_deleted:
                return None
            return organization.name, organization.slug
        if kind == "session":
            standing = repository.find(name, ids[0], None, ids[1])
            return True if standing is not None and standing.session_is_over else None
        standing = repository.find(name, ids[1], ids[0])
        current = current_membership(standing.memberships) if standing is not None else None
        return current.role if current is not None else None


@dataclass(frozen=True)
class Glimpse:
    """The name of a person of whom only a membership or a session has told."""

    names: tuple[str | None, str | None]


def facts_of_user(user: FakeUser) -> tuple[Any, ...]:
    """A person in the words of a repository."""
    primary = user.primary_address
    profile = (user.email, primary is not None and primary.verified, user.first_name, user.last_name, user.external_id)
    metadata = json.loads(json.dumps(user.public_metadata))
    return (*profile, user.banned or user.deprovisioned, metadata, user.created_at)


def is_glimpse_of(known: Any, pictures: Sequence[Any]) -> bool:
    """Whether a person was ever called so."""
    return isinstance(known, Glimpse) and known.names in [each[2:4] for each in pictures if each is not None]


def thing_of(type: str, data: dict[str, Any]) -> Thing | None:
    """What an event is about; None for what is not kept."""
    group, _, verb = type.partition(".")
    if group in ("user", "organization"):
        return group, data["id"]
    if group == "organizationMembership":
        return "membership", data["organization"]["id"], data["public_user_data"]["user_id"]
    if group == "session" and verb in OVER:
        return "session", data["user_id"], data["id"]
    return None


def ends_with_another(thing: Thing, now: Picture) -> bool:
    """Whether a membership's person or organization is gone, or a session's person."""
    if thing[0] == "membership":
        return ("organization", thing[1]) not in now or ("user", thing[2]) not in now
    return thing[0] == "session" and ("user", thing[1]) not in now


# What can happen. Whom it happens to may be gone by then, which Clerk refuses.

Action = Callable[[Story, Random], object]


def _sign_up(story: Story, choose: Random) -> None:
    verified, external_id = choose.random() < 0.7, choose.choice((None, "e1", "e2"))
    story.users.append(
        story.clerk.create_user(
            choose.choice((*EMAILS, None)), first_name=choose.choice(NAMES), verified=verified, external_id=external_id
        )
    )


def _found(story: Story, choose: Random) -> None:
    founder = choose.choice((None, *story.users))
    story.organizations.append(story.clerk.create_organization(choose.choice(("Acme", "Beta")), created_by=founder))


def _invite(story: Story, choose: Random) -> None:
    organization, email = choose.choice(story.organizations), choose.choice(EMAILS)
    story.invitations.append(story.clerk.invite(organization, email, role=choose.choice(ROLES)))


def _accept(story: Story, choose: Random) -> None:
    user = story.clerk.accept_invitation(choose.choice(story.invitations))
    story.users += [] if user in story.users else [user]


def _sign_in(story: Story, choose: Random) -> None:
    story.sessions.append(story.clerk.sign_in(choose.choice(story.users), pending=choose.random() < 0.2))


def _remove_an_address(story: Story, user: FakeUser, chance: Random) -> None:
    if user.addresses:
        story.clerk.remove_address(user, chance.choice(user.addresses))


def _of_a_user(act: Callable[[Story, FakeUser, Random], object]) -> Action:
    return lambda story, choose: act(story, choose.choice(story.users), choose)


def _of_a_place(act: Callable[[Story, FakeOrganization, FakeUser, Random], object]) -> Action:
    return lambda story, choose: act(story, choose.choice(story.organizations), choose.choice(story.users), choose)


def _membership(story: Story, organization: FakeOrganization, user: FakeUser) -> FakeMembership:
    return story.clerk.membership(organization, user) or story.clerk.add_member(organization, user)


ACTIONS: list[Action] = [
    _sign_up,
    _found,
    _invite,
    _accept,
    _sign_in,
    lambda s, c: s.clerk.revoke_invitation(c.choice(s.invitations)),
    lambda s, c: s.clerk.end_session(c.choice(s.sessions), c.choice(OVER)),
    lambda s, c: s.clerk.update_organization(c.choice(s.organizations), name=c.choice(("Acme", "Gamma"))),
    lambda s, c: s.clerk.update_organization(c.choice(s.organizations), slug=c.choice(("acme", "gamma"))),
    lambda s, c: s.clerk.delete_organization(c.choice(s.organizations)),
    _of_a_user(lambda s, user, c: s.clerk.update_user(user, first_name=c.choice(NAMES), last_name=c.choice(NAMES))),
    _of_a_user(lambda s, user, c: s.clerk.update_user(user, external_id=c.choice(("e1", "e2", None)))),
    _of_a_user(lambda s, user, c: s.clerk.add_address(user, c.choice(EMAILS), primary=c.random() < 0.5)),
    _of_a_user(_remove_an_address),
    _of_a_user(lambda s, user, c: s.clerk.merge_metadata(user, public_metadata={"n": c.choice((1, None, {"a": 2}))})),
    _of_a_user(lambda s, user, c: s.clerk.ban(user)),
    _of_a_user(lambda s, user, c: s.clerk.unban(user)),
    _of_a_user(lambda s, user, c: s.clerk.lock(user)),
    _of_a_user(lambda s, user, c: s.clerk.deprovision(user, deprovisioned=c.random() < 0.5)),
    _of_a_user(lambda s, user, c: s.clerk.delete_user(user)),
    *[_of_a_place(lambda s, organization, user, c: s.clerk.add_member(organization, user, role=c.choice(ROLES)))] * 3,
    *[_of_a_place(lambda s, organization, user, c: s.clerk.remove_member(organization, user))] * 2,
    _of_a_place(lambda s, o, user, c: s.clerk.merge_metadata(_membership(s, o, user), public_metadata={"n": 1})),
]
