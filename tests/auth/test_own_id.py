"""Your id in the token: read where the verifier is told where it stands, and trusted only where you say so."""

import asyncio
from typing import Any

import pytest

from clerkmap import ClerkmapError, ConfigurationError, Principal, Reconciler, Resolver, Verifier, WriteBack
from clerkmap.auth.lease import Lease
from clerkmap.auth.result import AuthResult
from clerkmap.clerk import ClerkApi
from clerkmap.core.requirements import Requirement
from clerkmap.errors import PrincipalRefused, RoleMissing, SessionEnded, UserBanned, UserDeleted
from clerkmap.repositories import MemoryRepository
from clerkmap.sync import drain
from clerkmap.testing import FakeClerk, FakeUser
from opaque_world import World as OpaqueWorld


class Counted(MemoryRepository):
    """A repository that counts how often it is asked for somebody."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def find(self, *args: Any) -> Any:
        self.looks += 1
        return super().find(*args)


class Trusting:
    """A Clerk, and a resolver that takes its word for your ids."""

    def __init__(self) -> None:
        self.clerk = FakeClerk(1)
        self.clerk.clock.freeze()
        self.repository = Counted()
        self.verifier = Verifier(self.clerk.instance, own_id="metadata.userId", clock=self.clerk.clock)
        self.resolver = Resolver(self.clerk.instance, self.repository, verifier=self.verifier, trust_own_id=True)
        self.reconciler = Reconciler(self.clerk.instance, self.repository, clock=self.clerk.clock)
        self.ada = self.clerk.create_user("ada@example.com")
        self.hear()
        self.clerk.clock.advance(180)

    def hear(self) -> None:
        """Have the webhooks arrive that are due."""
        for delivery in self.clerk.deliveries():
            self.reconciler.receive(delivery.headers, delivery.body)

    def token(self, own_id: Any = "mine", user: FakeUser | None = None, **said: Any) -> str:
        """A token with your id in a claim of your own making."""
        return self.clerk.token(user or self.ada, claims={"metadata": {"userId": own_id}}, **said)


@pytest.fixture
def world() -> Trusting:
    """Everybody has been heard of a minute ago."""
    return Trusting()


@pytest.mark.parametrize("own_id", ["mine", 7, -(2**63), "x" * 255])
def test_it_is_read(world: Trusting, own_id: Any) -> None:
    """As text or number, whichever it is."""
    assert world.verifier.verify(world.token(own_id)).own_id == own_id


@pytest.mark.parametrize("own_id", [None, "", "x" * 256, "a\x00b", 2**63, True, 1.5, ["mine"], {"id": "mine"}])
def test_what_cannot_be_one_is_none(world: Trusting, own_id: Any) -> None:
    """The token is good all the same, and the repository is asked."""
    token = world.token(own_id)
    assert world.verifier.verify(token).own_id is None
    assert world.resolver.resolve(token).user.email == "ada@example.com"
    assert world.repository.looks == 1


def test_it_is_not_read_unless_you_say_where(world: Trusting) -> None:
    """Nor from anywhere else."""
    token = world.token()
    assert Verifier(world.clerk.instance, clock=world.clerk.clock).verify(token).own_id is None
    other = Verifier(world.clerk.instance, own_id="userId", clock=world.clerk.clock)
    assert other.verify(token).own_id is None


def test_trusted_it_takes_no_look(world: Trusting) -> None:
    """Not the first time either. There is no role: that is the database's to say, and `confirm` asks it."""
    token = world.token()
    principal = world.resolver.resolve(token)
    for _ in range(2):
        assert world.resolver.resolve_nowait(token) == principal
        assert (principal.user.id, principal.user.role) == ("mine", None)
        assert principal.user.clerk_id == world.ada.id
    assert world.repository.looks == 0
    assert world.resolver.confirm(principal).user.email == "ada@example.com"
    assert Principal.from_dict(principal.to_dict()).user.id == "mine"


def test_a_token_minted_after_the_write_back_carries_it(world: Trusting) -> None:
    """Once the dashboard adds the metadata to the tokens."""
    world.clerk.session_claims = {"metadata": "{{user.public_metadata}}", "greeting": "{{user.username || user.id}}!"}
    assert world.verifier.verify(world.clerk.token(world.ada)).own_id is None
    repository = MemoryRepository(write_back=WriteBack(user_id="userId"), clock=world.clerk.clock)
    repository.put([world.clerk.record(world.ada)])
    world.clerk.clock.advance(60)
    api = ClerkApi(world.clerk.instance, transport=world.clerk.transport())
    assert drain(api, repository, clock=world.clerk.clock).written == 1
    standing = repository.find(world.clerk.instance.name, world.ada.id)
    assert standing is not None
    claims = world.verifier.verify(world.clerk.token(world.ada))
    assert claims.own_id == standing.user.id
    assert claims.payload["greeting"] == f"{world.ada.id}!"


def test_not_trusted_it_is_looked_up(world: Trusting) -> None:
    """Which is the default: what the token says of your id is there to be read, and decides nothing."""
    resolver = Resolver(world.clerk.instance, world.repository, verifier=world.verifier)
    principal = resolver.resolve(world.token())
    assert principal.user.id != "mine"
    assert principal.claims.own_id == "mine"


def test_an_organization_is_looked_up(world: Trusting) -> None:
    """Whether somebody still is a member, only the repository knows."""
    acme = world.clerk.create_organization("Acme", created_by=world.ada)
    world.hear()
    principal = world.resolver.resolve(world.token(organization=acme))
    assert principal.user.id != "mine"
    assert principal.organization is not None


@pytest.mark.parametrize(
    ("how", "refusal"), [("ban", UserBanned), ("delete_user", UserDeleted), ("end_session", SessionEnded)]
)
def test_who_is_locked_out_stays_out(world: Trusting, how: str, refusal: type[ClerkmapError]) -> None:
    """From the moment on that it is heard, with a token seen before or not."""
    session = world.clerk.sign_in(world.ada)
    seen, unseen = (world.token(session=session) for _ in range(2))
    assert world.resolver.resolve(seen).user.id == "mine"
    getattr(world.clerk, how)(session if how == "end_session" else world.ada)
    world.hear()
    for token in (seen, unseen):
        with pytest.raises(refusal):
            world.resolver.resolve(token)


def test_a_token_from_before_a_change_is_looked_up(world: Trusting) -> None:
    """And one from well after it is trusted again."""
    token = world.token()
    world.clerk.update_user(world.ada, first_name="Ada")
    world.hear()
    assert world.resolver.resolve(token).user.name == "Ada"
    world.clerk.clock.advance(130)
    assert world.resolver.resolve(world.token()).user.id == "mine"


def test_what_was_before_this_process_is_looked_up() -> None:
    """It has not heard what happened then."""
    world = Trusting()
    token = world.token()
    other = Resolver(world.clerk.instance, world.repository, verifier=world.verifier, trust_own_id=True)
    assert other.resolve(token).user.email == "ada@example.com"


def test_what_makes_no_sense_is_refused(world: Trusting) -> None:
    """A path that leads nowhere, one that people write themselves, and trust in what is not read."""
    wrong: list[Any] = ["", ".", "a.", "unsafe_metadata.userId", 7]
    for path in wrong:
        with pytest.raises(ConfigurationError, match="own_id"):
            Verifier(world.clerk.instance, own_id=path)
    with pytest.raises(ConfigurationError, match="trust_own_id"):
        Resolver(world.clerk.instance, world.repository, trust_own_id=True)


@pytest.mark.parametrize("own_id", ["claims.userId", "name"])
def test_what_an_api_key_says_of_itself_is_nobodys_id(own_id: str) -> None:
    """Its name and its claims were chosen by whoever had it made: whose key it is, the repository tells."""
    at = OpaqueWorld()
    victim = at.resolver.resolve(at.clerk.token(at.ann)).user
    eve = at.clerk.create_user("eve@example.com")
    at.advance(60)
    verifier = Verifier(at.instance, accept=["session", "api_key"], opaque=at.opaque, own_id=own_id, clock=at.clock)
    resolver = Resolver(at.instance, at.repository, verifier=verifier, trust_own_id=True)
    key = at.clerk.create_api_key(eve, name=str(victim.id), claims={"userId": str(victim.id)})
    principal = resolver.resolve(key.secret)
    assert principal.claims.own_id is None
    assert principal.user.clerk_id == eve.id
    assert principal.user.id != victim.id


ADMIN = Requirement(user_role="admin")


def test_a_role_is_looked_up_where_it_is_required(world: Trusting) -> None:
    """Once: the role is remembered with the rest, and it is the one that the repository has at that moment."""
    token = world.token()
    caller = AuthResult(world.resolver, world.resolver.resolve(token))
    assert not caller.principal.role_is_known
    with pytest.raises(RoleMissing):
        caller.require(ADMIN)
    world.repository.set_role(caller.principal.user.id, "admin")
    world.clerk.clock.advance(130)
    caller = AuthResult(world.resolver, world.resolver.resolve(world.token()))
    looks = world.repository.looks
    assert caller.require(ADMIN).user.role == "admin"
    assert caller.principal.role_is_known
    assert caller.require(ADMIN) == caller.principal
    assert world.repository.looks == looks + 1


def test_a_lease_asks_for_the_role_too(world: Trusting) -> None:
    """When it begins, each time it is checked, and when it is renewed."""
    real = world.resolver.confirm(world.resolver.resolve(world.token())).user
    world.repository.set_role(real.id, "admin")
    world.clerk.clock.advance(130)

    async def life() -> None:
        principal = world.resolver.resolve(world.token(real.id))
        assert not principal.role_is_known
        lease = Lease(world.resolver, principal, required=ADMIN)
        assert (await lease.check()).user.role == "admin"
        assert (await lease.renew(world.token(real.id))).user.role == "admin"
        world.clerk.clock.advance(130)
        late = Lease(world.resolver, principal, required=ADMIN, grace=1000)
        world.resolver.resolve(world.token(real.id))
        assert (await late.renew(world.token(real.id))).user.role == "admin"
        world.repository.set_role(real.id, None)
        for again in (late.check, lambda: late.renew(world.token(real.id))):
            with pytest.raises(RoleMissing):
                await again()

    asyncio.run(life())


def test_a_role_that_is_not_known_is_never_taken_for_none(world: Trusting) -> None:
    """A check of one's own says what to do, also after the principal was handed on to a job."""
    principal = world.resolver.resolve(world.token())
    handed_on = Principal.from_dict(principal.to_dict())
    for each in (principal, handed_on):
        with pytest.raises(ConfigurationError, match="confirm"):
            ADMIN.check(each)
    with pytest.raises(RoleMissing):
        ADMIN.check(world.resolver.confirm(handed_on))
    for wrong in (1, None, "no"):
        with pytest.raises(PrincipalRefused):
            Principal.from_dict({**principal.to_dict(), "role_is_known": wrong})
    with_role = world.resolver.confirm(principal).to_dict()
    with_role["user"]["role"] = "admin"
    with pytest.raises(PrincipalRefused):
        Principal.from_dict({**with_role, "role_is_known": False})
