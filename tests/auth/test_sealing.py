"""A principal under seal: only who has the secret can have written it, and only for a while."""

import asyncio
import base64
import hashlib
import hmac
import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerkmap import ClerkmapError, ConfigurationError, Principal, PrincipalRefused, Resolver, seal, unseal
from clerkmap.core.serialization import MAX_SIZE
from clerkmap.errors import IssuerRefused, SealBroken, SealExpired, UserBanned, UserDeleted
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock, FakeClerk
from travellers import NOW, principals

SECRET, OTHER = "s" * 32, b"\xff" * 32
PRINCIPALS = principals(81)
FULL = PRINCIPALS["known in full"]
CLOCK = Clock(NOW)
SEALED = seal(FULL, SECRET, clock=CLOCK)


def resealed(told: bytes, secret: str = SECRET, *, before: str = f"v1.{NOW + 9}.") -> str:
    """What somebody with the secret could seal by hand. It pins how it is done."""
    signed = before + base64.urlsafe_b64encode(told).decode().rstrip("=")
    mac = hmac.new(secret.encode(), b"clerkmap principal\0" + signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


@pytest.mark.parametrize("name", PRINCIPALS)
def test_who_was_sealed_comes_back_the_same(name: str) -> None:
    """Every kind of principal, to the letter."""
    assert unseal(seal(PRINCIPALS[name], SECRET, clock=CLOCK), SECRET, clock=CLOCK) == PRINCIPALS[name]


def test_how_it_is_sealed_is_written_down() -> None:
    """What is in a queue today is read tomorrow, and the seal can be checked with nothing but HMAC."""
    assert unseal(resealed(json.dumps(FULL.to_dict()).encode()), SECRET, clock=CLOCK) == FULL
    assert SEALED.startswith(f"v1.{NOW + 3600}.")
    assert set(SEALED) <= set(string.ascii_letters + string.digits + "-_.")


@given(st.integers(0, len(SEALED) - 1), st.characters())
def test_no_character_can_be_changed(place: int, character: str) -> None:
    """Not the body, nor the time, nor the seal itself, nor what looks like the same."""
    tampered = SEALED[:place] + character + SEALED[place + 1 :]
    if tampered != SEALED:
        with pytest.raises(SealBroken):
            unseal(tampered, SECRET, clock=CLOCK)


def test_every_character_counts() -> None:
    """Each place of one text in turn, also the last, whose lowest bits no decoder would look at."""
    for place, character in enumerate(SEALED):
        another = string.ascii_letters[(string.ascii_letters.find(character) + 1) % 52]
        with pytest.raises(SealBroken):
            unseal(SEALED[:place] + another + SEALED[place + 1 :], SECRET, clock=CLOCK)


@given(st.integers(0, len(SEALED)), st.text(min_size=1, max_size=3))
def test_nothing_can_be_put_in_or_left_out(place: int, more: str) -> None:
    """Longer and shorter texts are no seals either."""
    for tampered in (SEALED[:place] + more + SEALED[place:], SEALED[:place]):
        if tampered != SEALED:
            with pytest.raises(SealBroken):
                unseal(tampered, SECRET, clock=CLOCK)


@given(st.text() | st.binary() | st.none() | st.integers() | st.lists(st.text()))
def test_anything_at_all_is_refused(value: object) -> None:
    """Nothing but a `SealBroken` comes out, whatever goes in."""
    with pytest.raises(SealBroken):
        unseal(value, SECRET, clock=CLOCK)  # type: ignore[arg-type]  # what a stranger sends is what it is


@given(st.binary(max_size=60), st.sampled_from(["v1.", "v2.9.", "v1.x.", f"v1.{NOW + 9}.", "", f"v1.{NOW + 9}.a.b."]))
def test_a_good_seal_over_nonsense_is_refused(told: bytes, before: str) -> None:
    """What was sealed is read strictly, too: an older version may have written it."""
    with pytest.raises(PrincipalRefused):
        unseal(resealed(told, before=before), SECRET, clock=CLOCK)


def test_a_seal_expires() -> None:
    """It is good until the second it names, and not in it."""
    text = seal(FULL, SECRET, expires_in=60, clock=CLOCK)
    assert unseal(text, SECRET, clock=Clock(NOW + 59)) == FULL
    with pytest.raises(SealExpired):
        unseal(text, SECRET, clock=Clock(NOW + 60))
    assert unseal(seal(FULL, SECRET), SECRET) == FULL  # by the real time


@pytest.mark.parametrize("text", [SEALED, seal(FULL, SECRET, expires_in=1, clock=Clock(0))], ids=["good", "expired"])
def test_another_secret_is_told_before_anything_else(text: str) -> None:
    """Who has not the secret is told nothing about what is in the text."""
    with pytest.raises(SealBroken):
        unseal(text, OTHER, clock=CLOCK)


def test_a_secret_can_be_changed_while_texts_are_on_their_way() -> None:
    """The first of several seals; each of them opens."""
    new = seal(FULL, [OTHER, SECRET], clock=CLOCK)
    assert unseal(SEALED, [OTHER, SECRET], clock=CLOCK) == unseal(new, [OTHER, SECRET], clock=CLOCK) == FULL
    assert unseal(new, OTHER, clock=CLOCK) == FULL
    with pytest.raises(SealBroken):
        unseal(new, SECRET, clock=CLOCK)


@pytest.mark.parametrize("secret", ["", "s" * 31, [], [SECRET, "short"], None, 7, [7], {SECRET}, ["é" * 15]], ids=repr)
def test_a_secret_that_could_be_guessed_is_refused(secret: object) -> None:
    """Where it is used first, and without being quoted."""
    for use in (lambda: seal(FULL, secret), lambda: unseal(SEALED, secret)):  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError) as caught:
            use()
        assert "short" not in str(caught.value)


@pytest.mark.parametrize("expires_in", [0, -1, float("nan"), float("inf"), True, 31_536_001, "60", None], ids=repr)
def test_a_seal_for_ever_is_refused(expires_in: object) -> None:
    """A time there must be, and at most a year."""
    with pytest.raises(ConfigurationError):
        seal(FULL, SECRET, expires_in=expires_in)  # type: ignore[arg-type]


def test_who_is_too_large_is_not_sealed() -> None:
    """What `unseal` would not read is not made."""
    told = FULL.to_dict()
    told["user"]["clerk"]["first_name"] = "x" * (MAX_SIZE - 6_000)
    fits = Principal.from_dict(told)
    assert unseal(seal(fits, SECRET, clock=CLOCK), SECRET, clock=CLOCK) == fits
    payload = {"padding": "x" * MAX_SIZE} | FULL.claims.payload
    object.__setattr__(fits.claims, "_payload", payload)
    with pytest.raises(PrincipalRefused, match="characters"):
        seal(fits, SECRET)


def test_no_error_shows_anything() -> None:
    """Neither the secret, nor the text, nor the person."""
    for text in (
        SEALED[:-1],
        seal(FULL, SECRET, expires_in=1, clock=Clock(0)),
        resealed(b'{"email":"ann@example.com"}'),
    ):
        with pytest.raises(ClerkmapError) as caught:
            unseal(text, SECRET, clock=CLOCK)
        assert not any(each in repr(caught.value) for each in (SECRET, text[:20], "ann@"))


class Job:
    """Somebody at a fake Clerk, and their principal under seal."""

    def __init__(self) -> None:
        self.clerk = FakeClerk(seed=90, clock=Clock(NOW))
        self.ann = self.clerk.create_user()
        self.repository = MemoryRepository()
        self.resolver = Resolver(self.clerk.instance, self.repository, verifier=self.clerk.verifier())
        self.text = seal(self.resolver.resolve(self.clerk.token(self.ann)), SECRET, clock=CLOCK)

    def run(self, resolver: Resolver) -> Principal:
        return resolver.confirm(unseal(self.text, SECRET, clock=CLOCK))


def test_a_job_is_done_as_its_caller_is_now() -> None:
    """What changed meanwhile is known at the other end, and that the token has expired does not matter."""
    job = Job()
    job.clerk.clock.advance(3000)
    job.repository.put([job.clerk.record(job.ann, first_name="Ann")])
    assert job.run(job.resolver).user.name == "Ann"


@pytest.mark.parametrize(("said", "error"), [({"banned": True}, UserBanned), (None, UserDeleted)])
def test_who_was_locked_out_meanwhile_does_not_act(said: dict[str, bool] | None, error: type[ClerkmapError]) -> None:
    """A job of somebody who was banned or deleted is refused when it is done."""
    job = Job()
    record = job.clerk.record(job.ann, **(said or {}))
    job.repository.put([record.tombstone(NOW * 1000 + 1) if said is None else record])
    with pytest.raises(error):
        job.run(job.resolver)


async def confirm_in_every_colour(resolver: Resolver, principal: Principal) -> None:
    with pytest.raises(IssuerRefused):
        resolver.confirm(principal)
    with pytest.raises(IssuerRefused):
        resolver.confirm_nowait(principal)
    with pytest.raises(IssuerRefused):
        await resolver.aconfirm(principal)


def test_another_instances_principal_is_not_confirmed() -> None:
    """Two instances with one repository and one secret do not take each other's people for their own."""
    job, neighbour = Job(), FakeClerk(seed=91, clock=Clock(NOW))
    principal = unseal(job.text, SECRET, clock=CLOCK)
    elsewhere = Resolver(neighbour.instance, job.repository, verifier=neighbour.verifier())
    asyncio.run(confirm_in_every_colour(elsewhere, principal))
