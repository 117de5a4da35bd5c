"""Webhooks as Clerk sends them: whole sample deliveries with their signatures, and small events made to order."""

import hmac
import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any, NamedTuple

from clerkmap import Event, Instance, Reconciler, Repository, parse_event
from clerkmap.core.records import AnyRecord
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock

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
    key = b64decode(secret.removeprefix("whsec_"))
    signature = b64encode(hmac.digest(key, f"{id}.{at}.".encode() + content, "sha256")).decode()
    return {"svix-id": id, "svix-timestamp": str(at), "svix-signature": f"v1,{signature}"}


def address(id: Any = "idn_1", email: Any = "ann@example.com", *, status: Any = "verified") -> dict[str, Any]:
    """One of a person's addresses."""
    return {"id": id, "email_address": email, "verification": {"status": status, "strategy": "email_code"}}


def user(clerk_id: Any = ANN, *, at: Any = MS, **said: Any) -> dict[str, Any]:
    """A person's data."""
    mine = {"email_addresses": [address()], "primary_email_address_id": "idn_1", "first_name": "Ann"}
    return {"id": clerk_id, "object": "user", **mine, "updated_at": at, "banned": False, **said}


def organization(clerk_id: Any = ACME, *, at: Any = MS, **said: Any) -> dict[str, Any]:
    """An organization's data."""
    return {"id": clerk_id, "object": "organization", "name": "Acme", "slug": "acme", "updated_at": at, **said}


def public_user(clerk_id: Any = ANN, **said: Any) -> dict[str, Any]:
    """A person as a membership shows them."""
    return {"user_id": clerk_id, "first_name": "Ann", "identifier": "ann@example.com", **said}


def membership(clerk_id: Any = "orgmem_1", *, at: Any = MS, user_id: str = ANN, **said: Any) -> dict[str, Any]:
    """A membership's data, with its organization and its person in it."""
    ends = {"organization": organization(at=at), "public_user_data": public_user(user_id)}
    return {"id": clerk_id, "object": "organization_membership", **ends, "role": "org:member", "updated_at": at, **said}
