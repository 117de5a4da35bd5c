"""From a token to a principal: first sight, what a token may tell, who is locked out, and what is remembered."""

import asyncio
import pickle
from typing import Any

import pytest

from clerkmap import ClerkmapError, ClerkOrganization, ClerkUser, Principal, Repository, Resolver, Verifier, threaded
from clerkmap.core.records import AnyRecord, ClerkMembership
from clerkmap.errors import ConfigurationError, MachineToken, MembershipDeleted, TokenExpired, TokenNotYetValid
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock, FakeClerk, FakeOrganization, FakeUser

NOW = 1_790_000_000


class World:
    """One Clerk, one person in one organization, one repository, one resolver, and a clock for all."""

    def __init__(self, **policy: Any) -> None:
        self.clerk = FakeClerk(seed=1, clock=Clock(NOW))
        self.ann = self.clerk.create_user()
        self.acme = self.clerk.create_organization("Acme", created_by=self.ann)
        self.repository = MemoryRepository()
        self.verifier = Verifier(self.clerk.instance, clock=self.clerk.clock, **policy)
        self.resolver = self.another_resolver()

    def another_resolver(self, repository: Repository | None = None, **options: Any) -> Resolver:
        chosen = self.repository if repository is None else repository
        return Resolver(self.clerk.instance, chosen, verifier=self.verifier, **options)

    def token(self, organization: FakeOrganization | None = None, user: FakeUser | None = None, **options: Any) -> str:
        return self.clerk.token(user or self.ann, organization, **options)

    def put(self, *records: AnyRecord) -> None:
        self.repository.put(records)

    def full(self, *, at: int = NOW * 1000, **said: Any) -> ClerkUser:
        return ClerkUser.full(self.clerk.instance.name, self.ann.id, updated_at=at, observed_at=at, **said)

    def member(self, clerk_id: str = "orgmem_1", *, at: int = NOW * 1000, role: str = "org:member") -> ClerkMembership:
        name = self.clerk.instance.name
        return ClerkMembership.full(name, clerk_id, observed_at=at, updated_at=at, role=role, **self.ends())

    def left(self, clerk_id: str = "orgmem_1", *, at: int = NOW * 1000) -> ClerkMembership:
        return ClerkMembership.deleted(self.clerk.instance.name, clerk_id, observed_at=at, **self.ends())

    def ends(self) -> dict[str, Any]:
        return {"clerk_user_id": self.ann.id, "clerk_organization_id": self.acme.id}


@pytest.fixture
def world() -> World:
    return World()


def test_first_sight_makes_the_user(world: World) -> None:
    """A token alone makes your user; the next one finds the same."""
    principal = world.resolver.resolve(world.token())

    assert principal.user.clerk_id == world.ann.id
    assert (principal.organization, principal.membership, principal.actor) == (None, None, None)
    assert world.another_resolver().resolve(world.token()).user == principal.user


@pytest.mark.parametrize("version", [1, 2])
def test_first_sight_makes_organization_and_membership(world: World, version: int) -> None:
    """What the token names is made with the user, from tokens of both versions alike."""
    principal = world.resolver.resolve(world.token(world.acme, version=version))

    assert principal.organization is not None
    assert principal.membership is not None
    assert (principal.organization.clerk_id, principal.organization.slug) == (world.acme.id, "acme")
    assert principal.membership.role == "org:admin"
    assert principal.user.id != principal.organization.id


def test_memory_answers_the_second_time(world: World) -> None:
    """`resolve_nowait` gives None until somebody has asked the repository, and then the very same principal."""
    token = world.token(world.acme)

    assert world.resolver.resolve_nowait(token) is None
    principal = world.resolver.resolve(token)
    assert world.resolver.resolve_nowait(token) is principal
    assert world.resolver.resolve(token) is principal
    assert asyncio.run(world.resolver.aresolve(token)) is principal


def test_a_new_token_of_a_known_person_needs_nobody(world: World) -> None:
    """With the key and the person at hand, the next token of a session is answered from memory."""
    first = world.resolver.resolve(world.token(session="sess_1"))
    second = world.resolver.resolve_nowait(world.token(session="sess_1"))

    assert second is not None
    assert second.user == first.user


def test_both_colours_agree(world: World) -> None:
    """The asynchronous way gives what the synchronous one gives, on either kind of repository."""
    token = world.token(world.acme)
    lent = Resolver(world.clerk.instance, threaded(world.repository), verifier=world.verifier)

    principal = asyncio.run(lent.aresolve(token))

    assert asyncio.run(world.resolver.aresolve(token)) == principal
    assert world.another_resolver().resolve(token) == principal
    with pytest.raises(ConfigurationError, match="aresolve"):
        lent.resolve(world.token())


def test_a_token_never_outranks_a_full_record(world: World) -> None:
    """What Clerk stated stands, whatever a token says, even one that was made later."""
    full = ClerkOrganization.full(
        world.clerk.instance.name, world.acme.id, observed_at=1, name="Acme Ltd", slug="acme-ltd"
    )
    world.put(world.full(at=1, email="ann@example.com"), full, world.member(at=1, role="org:billing"))

    principal = world.resolver.resolve(world.token(world.acme))

    assert principal.organization is not None
    assert principal.membership is not None
    assert principal.user.email == "ann@example.com"
    assert (principal.organization.name, principal.organization.slug) == ("Acme Ltd", "acme-ltd")
    assert principal.membership.role == "org:billing"


def test_without_webhooks_the_newest_token_tells_the_role(world: World) -> None:
    """Where nothing better is known, a later token's role and slug are taken, and an earlier one's are not."""
    early = world.token(world.acme)
    world.resolver.resolve(early)
    world.clerk.clock.advance(10)
    world.clerk.add_member(world.acme, world.ann, role="org:viewer")
    later = world.token(world.acme, claims={"o": {"id": world.acme.id, "slg": "acme-2", "rol": "viewer"}})

    principal = world.resolver.resolve(later)
    assert principal.organization is not None
    assert principal.membership is not None
    assert (principal.organization.slug, principal.membership.role) == ("acme-2", "org:viewer")
    again = world.resolver.resolve(early)
    assert again.membership is not None
    assert again.membership.role == "org:viewer"


LOCKED_OUT = [
    ("user_deleted", lambda world: [ClerkUser.deleted(world.clerk.instance.name, world.ann.id, observed_at=1)]),
    ("user_banned", lambda world: [world.full(banned=True)]),
    (
        "organization_deleted",
        lambda world: [ClerkOrganization.deleted(world.clerk.instance.name, world.acme.id, observed_at=1)],
    ),
    ("membership_deleted", lambda world: [world.member(), world.left()]),
    ("membership_deleted", lambda world: [world.left()]),
]


@pytest.mark.parametrize(("code", "records"), LOCKED_OUT)
@pytest.mark.parametrize("warm", [True, False])
def test_locked_out_at_once(world: World, code: str, records: Any, warm: bool) -> None:
    """Deleted, banned or removed: the next request is refused, although its token has not expired."""
    token = world.token(world.acme)
    if warm:
        world.resolver.resolve(token)

    world.put(*records(world))

    for resolver in (world.resolver, world.another_resolver()):
        answers = [_code_of(resolver, token, way) for way in ("resolve", "aresolve", "resolve", "resolve_nowait")]
        assert answers == [code] * 4


def _code_of(resolver: Resolver, token: str, way: str) -> str | None:
    try:
        if way == "aresolve":
            asyncio.run(resolver.aresolve(token))
        else:
            getattr(resolver, way)(token)
    except ClerkmapError as error:
        return error.code
    return None


def test_let_in_again(world: World) -> None:
    """A ban that is lifted lets the same token in again."""
    token = world.token()
    world.put(world.full(at=1, banned=True))
    assert _code_of(world.resolver, token, "resolve") == "user_banned"

    world.put(world.full(at=2, banned=False))

    assert world.resolver.resolve(token).user.clerk_id == world.ann.id


def test_removed_and_joined_again(world: World) -> None:
    """A token from before the removal stays out; one from after it proves a new membership, told or not."""
    before = world.token(world.acme)
    world.resolver.resolve(before)
    world.put(world.member(at=1), world.left(at=(NOW + 10) * 1000))
    world.clerk.clock.advance(20)
    after = world.token(world.acme, role="org:member")

    assert _code_of(world.resolver, before, "resolve") == "membership_deleted"
    principal = world.resolver.resolve(after)
    assert principal.membership is not None
    assert principal.membership.clerk_id is None

    world.put(world.member("orgmem_2", at=(NOW + 15) * 1000, role="org:admin"))
    principal = world.resolver.resolve(after)
    assert principal.membership is not None
    assert (principal.membership.clerk_id, principal.membership.role) == ("orgmem_2", "org:admin")


def test_a_removed_member_keeps_the_rest(world: World) -> None:
    """Who was removed from one organization comes in without one, or with another."""
    world.resolver.resolve(world.token(world.acme))
    world.put(world.left(at=NOW * 1000 + 500_000))
    other = world.clerk.create_organization("Other")

    assert world.resolver.resolve(world.token()).organization is None
    principal = world.resolver.resolve(world.token(other))
    assert principal.organization is not None
    with pytest.raises(MembershipDeleted):
        world.resolver.resolve(world.token(world.acme))


def test_a_token_is_not_remembered_beyond_its_time(world: World) -> None:
    """A remembered token expires on time, and is not valid again, nor early, when the clock goes back."""
    token = world.token(expires_in=60)
    world.resolver.resolve(token)

    world.clerk.clock.advance(64)
    assert world.resolver.resolve_nowait(token) is not None
    world.clerk.clock.advance(1)
    for way in ("resolve_nowait", "resolve", "aresolve"):
        assert _code_of(world.resolver, token, way) == TokenExpired.code
    world.clerk.clock.advance(-600)
    assert _code_of(world.resolver, token, "resolve_nowait") == TokenNotYetValid.code


def test_resolvers_of_one_process_share_no_decision(world: World) -> None:
    """A token that one policy lets through is refused by another, although the first has seen it."""
    token = world.token(pending=True)
    lenient = Resolver(
        world.clerk.instance,
        world.repository,
        verifier=Verifier(world.clerk.instance, clock=world.clerk.clock, allow_pending=True),
    )

    assert lenient.resolve(token).claims.pending
    assert _code_of(world.resolver, token, "resolve") == "session_pending"


def test_impersonation_names_the_actor(world: World) -> None:
    """The user is the one signed in as; the actor is who really acts."""
    principal = world.resolver.resolve(world.token(actor="user_support"))

    assert principal.actor is not None
    assert (principal.user.clerk_id, principal.actor.id) == (world.ann.id, "user_support")


def test_other_kinds_of_caller() -> None:
    """An OAuth client acts for its user, where it is accepted. A machine has no user."""
    world = World(accept=("session", "oauth", "m2m"))

    assert world.resolver.resolve(world.clerk.oauth_token(world.ann)).user.clerk_id == world.ann.id
    acting = world.clerk.oauth_token(world.ann, claims={"org_id": world.acme.id})
    world.resolver.resolve(world.token(world.acme))
    principal = world.resolver.resolve(acting)
    assert principal.membership is not None
    assert principal.membership.role == "org:admin"
    for way in ("resolve", "aresolve", "resolve_nowait"):
        assert _code_of(world.resolver, world.clerk.machine_token(), way) == MachineToken.code


def test_another_provider() -> None:
    """Any OpenID provider's subject becomes a user of yours."""
    clerk = FakeClerk(seed=5, algorithm="ES384", clock=Clock(NOW))
    instance = clerk.make_oidc_instance("https://api.example.com", name="logto")
    resolver = Resolver(instance, MemoryRepository(), verifier=Verifier(instance, clock=clerk.clock))

    principal = resolver.resolve(clerk.oidc_token("abc|123", "https://api.example.com"))

    assert (principal.user.clerk_id, principal.user.clerk.instance) == ("abc|123", "logto")


def test_what_is_remembered_is_bounded(world: World) -> None:
    """However many people come by, a resolver remembers so many, and answers right for those it forgot."""
    resolver = world.another_resolver(keep=8)
    people = [world.clerk.create_user() for _ in range(50)]
    tokens = [world.token(user=person) for person in people]

    first: list[Principal] = [resolver.resolve(token) for token in tokens]

    assert [resolver.resolve(token).user for token in tokens] == [principal.user for principal in first]
    assert sum(resolver.resolve_nowait(token) is not None for token in tokens) <= 8
    world.put(*(ClerkUser.deleted(world.clerk.instance.name, person.id, observed_at=1) for person in people))
    assert {_code_of(resolver, token, "resolve") for token in tokens} == {"user_deleted"}


def test_settings_that_cannot_work(world: World) -> None:
    """A verifier of another instance, and a memory of nothing, are refused at construction."""
    with pytest.raises(ConfigurationError, match="the same instance"):
        Resolver(world.clerk.make_instance(), world.repository, verifier=world.verifier)
    with pytest.raises(ConfigurationError, match="keep"):
        world.another_resolver(keep=0)


def test_metadata_is_a_copy_for_each_reader(world: World) -> None:
    """What one reader does to the metadata, no other sees."""
    said = {"role": "editor", "beds": [1, 2]}
    name = world.clerk.instance.name
    acme = ClerkOrganization.full(name, world.acme.id, observed_at=1, public_metadata=said)
    world.put(world.full(public_metadata=said), acme)

    principal = world.resolver.resolve(world.token(world.acme))
    assert principal.organization is not None
    for owner in (principal.user, principal.organization):
        owner.public_metadata["beds"].append(3)
        assert owner.public_metadata == {"role": "editor", "beds": [1, 2]}


def test_a_linker_that_ends_too_soon_is_no_answer(world: World) -> None:
    """An exception of the linker's own comes out as it is, even one that Python ends generators with."""

    def linker(record: ClerkUser) -> str:
        return next(iter(()))

    resolver = world.another_resolver(MemoryRepository(linker=linker))

    with pytest.raises(StopIteration):
        resolver.resolve(world.token())


def test_a_deleted_persons_token_makes_nothing(world: World) -> None:
    """Who is locked out leaves no trace: the organization that the token names is not made."""
    world.put(ClerkUser.deleted(world.clerk.instance.name, world.ann.id, observed_at=1))

    assert _code_of(world.resolver, world.token(world.acme), "resolve") == "user_deleted"
    standing = world.repository.find(world.clerk.instance.name, world.ann.id, world.acme.id)
    assert standing is not None
    assert (standing.organization, standing.memberships) == (None, ())


def test_a_watcher_that_fails_takes_nothing_from_the_others() -> None:
    """A watcher of yours that raises is heard, and the resolver is told all the same."""

    def fail(keys: object) -> None:
        raise OSError("no mail today")

    world = World()
    world.repository = MemoryRepository()
    world.repository.listeners.watch(fail)
    resolver = world.another_resolver()
    token = world.token()
    with pytest.raises(OSError, match="no mail"):
        resolver.resolve(token)

    with pytest.raises(OSError, match="no mail"):
        world.put(world.full(banned=True))

    assert _code_of(resolver, token, "resolve") == "user_banned"


def test_errors_travel(world: World) -> None:
    """An error can be sent to another process, and says the same there."""
    errors = [ConfigurationError("expected a text"), TokenExpired(), MembershipDeleted("why")]

    again = [pickle.loads(pickle.dumps(error)) for error in errors]

    assert [(type(error), str(error), repr(error)) for error in again] == [
        (type(error), str(error), repr(error)) for error in errors
    ]


@pytest.mark.parametrize(
    "policy",
    [
        {"allow_pending": "false"},
        {"allow_no_party": 1},
        {"leeway": "5"},
        {"leeway": True},
        {"leeway": 61},
        {"leeway": float("nan")},
        {"accept": 5},
        {"accept": []},
        {"accept": "session"},
        {"accept": ["oidc"]},
    ],
    ids=str,
)
def test_a_policy_that_could_mean_anything_is_refused(world: World, policy: dict[str, Any]) -> None:
    """What would switch a check off by mistake is refused at construction."""
    with pytest.raises(ConfigurationError):
        Verifier(world.clerk.instance, **policy)
