"""Webhooks that no FakeClerk would send of itself, ready to be taken in.

Whole deliveries of Clerk's own are kept in `samples`: they pin what really comes over the wire. Beside them stand the
shapes of the kit with something of your choice changed in them: an odd value, a word told at a time when it should not
be, the fields of an account that was never there. What is ordinary is made with a FakeClerk itself.
"""

import json
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from clerkmap import Event, Instance, Reconciler, Repository, parse_event
from clerkmap.core.records import AnyRecord
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock, FakeClerk, FakeMembership, FakeOrganization, FakeUser, Message, Wire
from clerkmap.testing.fake.objects import SYSTEM_ROLES, FakeAddress
from clerkmap.testing.fake.shapes import address_shape, body_of, membership_shape, organization_shape, user_shape

DIRECTORY = Path(__file__).parent / "samples"
SIGNATURES: dict[str, Any] = json.loads((DIRECTORY / "SIGNATURES.json").read_text(encoding="utf-8"))
SECRET: str = SIGNATURES["signing_secret"]
NOW: int = SIGNATURES["clock"]
MS = NOW * 1000
NAME = "clerk.example.com"
ANN, BEA, ACME = "user_2annAnnAnn", "user_2beaBeaBea", "org_2acmeAcme"


class Sample(NamedTuple):
    """A delivery: where it is kept, what it is about, and what came over the wire."""

    file: str
    type: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> Event:
        return parse_event(self.body)

    @property
    def said(self) -> dict[str, Any]:
        """The whole body, as plain JSON."""
        said: dict[str, Any] = json.loads(self.body)
        return said


def _load(entry: dict[str, str]) -> Sample:
    headers = {name: value for name, value in entry.items() if name.startswith("svix-")}
    return Sample(entry["file"], entry["type"], headers, (DIRECTORY / entry["file"]).read_bytes())


SAMPLES: dict[str, Sample] = {entry["file"]: _load(entry) for entry in SIGNATURES["deliveries"]}


def sample(name: str) -> Sample:
    """The sample of that name, without its `.json`."""
    return SAMPLES[f"{name}.json"]


def instance(**options: Any) -> Instance:
    """The instance that the samples are signed for."""
    settings: dict[str, Any] = {"issuer": f"https://{NAME}", "webhook_secrets": [SECRET], **options}
    return Instance(**settings)


def reconciler(repository: Repository | None = None, **options: Any) -> Reconciler:
    """A reconciler whose clock stands where the samples were signed."""
    chosen = MemoryRepository(clock=Clock(NOW)) if repository is None else repository
    return Reconciler(instance(**options), chosen, clock=Clock(NOW))


def body(type_: str, data: Any, *, timestamp: Any = MS, **envelope: Any) -> bytes:
    """A body of an event; half characters and NUL are written as JSON escapes."""
    return json.dumps({"type": type_, "object": "event", "data": data, "timestamp": timestamp, **envelope}).encode()


def event(type_: str, data: Any, *, timestamp: Any = MS, **envelope: Any) -> Event:
    """An event as it is read from its body."""
    return parse_event(body(type_, data, timestamp=timestamp, **envelope))


def records(type_: str, data: Any, *, timestamp: Any = MS) -> list[AnyRecord]:
    """What an event of this type and data says."""
    return event(type_, data, timestamp=timestamp).records(NAME)


def signed(content: bytes, *, at: int = NOW, id: str = "msg_1", secret: str = SECRET) -> dict[str, str]:
    """The headers of a delivery of this body."""
    return Wire(secret, Clock(at), _RANDOM).sign(Message(id, "", content, at))


def say(clerk: FakeClerk, type_: str, data: dict[str, Any], *, after: int = 0) -> Message:
    """Have a Clerk send what you like. It is a word of now, or of so many seconds later."""
    at = clerk.moment() + after * 1000
    content = body_of(type_, {**data, "updated_at": at}, clerk.instance_id, at)
    return clerk.wire.say(clerk.new_id("msg"), type_, content)


_RANDOM = Random(0)  # nothing is left to it here
_ADDRESS = FakeAddress("idn_1", "ann@example.com", created_at=MS, updated_at=MS)
_ANN = FakeUser(ANN, "Ann", addresses=[_ADDRESS], primary_address_id=_ADDRESS.id, created_at=MS)
_ACME = FakeOrganization(ACME, "Acme", "acme", created_by=ANN, created_at=MS)
_MEMBERSHIP = FakeMembership("orgmem_1", ACME, ANN, created_at=MS)
_SHAPES: dict[str, dict[str, Any]] = {
    "address": address_shape(_ADDRESS),
    "user": user_shape(_ANN),
    "organization": organization_shape(_ACME, 1, 0),
    "membership": membership_shape(_MEMBERSHIP, organization_shape(_ACME), _ANN, SYSTEM_ROLES[1]),
}


def address(id: Any = "idn_1", email: Any = "ann@example.com", *, status: Any = "verified") -> dict[str, Any]:
    """One of a person's addresses."""
    shape = _SHAPES["address"]
    return {**shape, "id": id, "email_address": email, "verification": {**shape["verification"], "status": status}}


def user(clerk_id: Any = ANN, *, at: Any = MS, **said: Any) -> dict[str, Any]:
    """A person's data."""
    return {**_SHAPES["user"], "id": clerk_id, "updated_at": at, **said}


def organization(clerk_id: Any = ACME, *, at: Any = MS, **said: Any) -> dict[str, Any]:
    """An organization's data."""
    return {**_SHAPES["organization"], "id": clerk_id, "updated_at": at, **said}


def public_user(clerk_id: Any = ANN, **said: Any) -> dict[str, Any]:
    """A person as a membership shows them."""
    return {**_SHAPES["membership"]["public_user_data"], "user_id": clerk_id, **said}


def membership(clerk_id: Any = "orgmem_1", *, at: Any = MS, user_id: str = ANN, **said: Any) -> dict[str, Any]:
    """A membership's data, with its organization and its person in it."""
    ends = {"organization": organization(at=at), "public_user_data": public_user(user_id)}
    return {**_SHAPES["membership"], "id": clerk_id, **ends, "updated_at": at, **said}
