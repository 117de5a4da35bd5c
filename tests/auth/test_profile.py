"""The profile in custom claims: a new user has it at the first request, and every word from Clerk outranks it."""

from collections.abc import Callable, Iterator, Mapping
from itertools import permutations
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerkmap import Claims, ConfigurationError, Principal, Profile, Resolver, Verifier
from clerkmap.core.admission import new_records_of_token
from clerkmap.core.claims import MAX_PROFILE_TEXT
from clerkmap.core.model import Change
from clerkmap.core.records import EMBEDDED, FROM_TOKEN, FULL, AnyRecord, ClerkUser, Grade
from clerkmap.errors import RepositoryUnavailable, UserDeleted
from clerkmap.repositories import ByVerifiedEmail, MemoryRepository, SqliteRepository
from clerkmap.testing import FakeClerk
from opaque_world import World as OpaqueWorld

PROFILE = {"email": "email", "name": "full_name"}
NAMES = ("email", "first_name", "last_name", "username", "image_url")
MakeRepository = Callable[..., MemoryRepository | SqliteRepository]


def _sqlite(**options: Any) -> SqliteRepository:
    return SqliteRepository.open(":memory:", **options)


class World:
    """A Clerk whose session tokens carry a profile, and a resolver that reads it."""

    def __init__(self, profile: Mapping[str, str] = PROFILE, repository: Any = None, **options: Any) -> None:
        self.clerk = FakeClerk(5)
        self.clerk.clock.freeze()
        self.repository = MemoryRepository(clock=self.clerk.clock) if repository is None else repository
        self.verifier = Verifier(self.clerk.instance, profile=profile, clock=self.clerk.clock)
        self.resolver = Resolver(self.clerk.instance, self.repository, verifier=self.verifier, **options)
        self.ada = self.clerk.create_user("ada@example.com")

    def token(self, **claims: Any) -> str:
        """A token of Ada with these claims, of a second of its own."""
        self.clerk.clock.advance(1)
        return self.clerk.token(self.ada, session="sess_1", claims=claims)

    def resolve(self, **claims: Any) -> Principal:
        """Ada, by a new token with these claims."""
        return self.resolver.resolve(self.token(**claims))

    def record(self, grade: Grade, **said: Any) -> ClerkUser:
        """A record of Ada from a webhook, of this second."""
        at = int(self.clerk.clock() * 1000)
        return ClerkUser.make(grade, self.clerk.instance.name, self.ada.id, observed_at=at, **said)


@pytest.fixture(params=[MemoryRepository, _sqlite], ids=["memory", "sqlite"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """The same world on two repositories."""
    world = World(repository=cast(MakeRepository, request.param)())
    yield world
    world.repository.close()


def test_a_new_user_has_the_profile_of_the_first_token(world: World) -> None:
    """The user, its record and the change in a hook have the address and the name, without a call to Clerk."""
    user = world.resolve(email="ada@example.com", full_name="Ada Lovelace").user
    assert (user.email, user.name, user.clerk.first_name) == ("ada@example.com", "Ada Lovelace", "Ada Lovelace")
    assert (user.clerk.grade, user.clerk.email_verified, user.role) == (FROM_TOKEN, False, None)
    assert world.repository.user(user.id) == user


def test_a_hook_sees_the_address_of_a_new_user() -> None:
    """The row that it makes has it from the beginning."""
    seen: list[tuple[bool, str | None]] = []

    def hook(change: Change, _transaction: object) -> None:
        seen.append((change.made, change.user.email if change.user is not None else None))

    world = World(repository=MemoryRepository(hooks=[hook]))
    world.resolve(email="a@example.com")
    world.resolve(email="b@example.com")
    assert seen == [(True, "a@example.com"), (False, "b@example.com")]


def test_a_newer_token_refreshes_an_older_one(world: World) -> None:
    """An older token changes nothing, and a token without a profile forgets nothing."""
    old, older = world.token(email="old@example.com"), world.token(email="older@example.com")
    assert world.resolve(email="new@example.com", full_name="New").user.email == "new@example.com"
    for token in (old, older):
        assert world.resolver.resolve(token).user.email == "new@example.com"
    for claims in ({}, {"email": 7}, {"email": ""}):
        assert world.resolve(**claims).user.name == "New"
    assert world.resolve(email="new@example.com").user.name is None  # the profile is one statement


@pytest.mark.parametrize("grade", [EMBEDDED, FULL])
def test_clerk_outranks_every_token(world: World, grade: Grade) -> None:
    """A record from Clerk wins although it is older and knows less, and later tokens do not change it."""
    first = world.token(email="token@example.com", full_name="Token")
    world.repository.put([world.record(grade, first_name="Clerk")])
    for token in (first, world.token(email="other@example.com")):
        user = world.resolver.resolve(token).user
        assert (user.email, user.name, user.clerk.grade) == (None, "Clerk", grade)


def test_a_deleted_user_gets_no_profile(world: World) -> None:
    """Neither from a token that was made before, nor from one after."""
    before = world.token(email="a@example.com")
    user = world.resolver.resolve(before).user
    world.repository.put([world.record(FULL).tombstone(int(world.clerk.clock() * 1000))])
    for token in (before, world.token(email="b@example.com")):
        with pytest.raises(UserDeleted):
            world.resolver.resolve(token)
    gone = world.repository.user(user.id)
    assert gone is not None
    assert (gone.email, gone.name) == (None, None)


def test_an_erased_user_gets_no_profile(world: World) -> None:
    """What was erased does not come back with the next token."""
    user = world.resolve(email="a@example.com").user
    world.repository.erase(user.id)
    with pytest.raises(UserDeleted):
        world.resolve(email="b@example.com")
    erased = world.repository.user(user.id)
    assert erased is not None
    assert erased.email is None


def test_a_partial_import_keeps_what_a_token_cannot_tell(world: World) -> None:
    """Such as a ban: a token with a profile replaces the import of names alone."""
    world.repository.put([world.record(FROM_TOKEN, email="old@example.com", external_id="7")])
    user = world.resolve(email="new@example.com").user
    assert (user.email, user.clerk.external_id) == ("old@example.com", "7")
    world.repository.put([world.record(FROM_TOKEN, email="older@example.com")])
    assert world.resolve(email="new@example.com").user.email == "new@example.com"


def test_a_user_of_a_token_without_a_profile_gets_one_later(world: World) -> None:
    """Even from an older token: a token without a profile tells nothing."""
    with_profile, without = world.token(email="a@example.com"), world.token()
    assert world.resolver.resolve(without).user.email is None
    assert world.resolver.resolve(with_profile).user.email == "a@example.com"
    assert world.resolver.resolve(without).user.email == "a@example.com"


# ------------------------------------------------------------------------------------------------ links and roles


@pytest.mark.parametrize("make", [MemoryRepository, _sqlite], ids=["memory", "sqlite"])
def test_a_linker_never_sees_the_profile_of_a_token(make: MakeRepository) -> None:
    """Not even a careless one, which does not ask whether the address is verified, gets an address to find rows by."""
    seen: list[ClerkUser] = []

    def careless(record: ClerkUser) -> str | None:
        seen.append(record)
        return "owner" if record.email == "owner@example.com" or record.username == "owner" else None

    profile = {name: name for name in NAMES}
    world = World(profile, make(linker=careless))
    user = world.resolve(email="owner@example.com", username="owner", first_name="O", last_name="W", image_url="u").user
    assert user.id != "owner"
    assert (user.email, user.clerk.username) == ("owner@example.com", "owner")
    (record,) = seen
    assert [getattr(record, name) for name in NAMES] == [None] * 5
    assert not record.email_verified
    world.repository.close()


def test_a_verified_address_comes_from_clerk_alone() -> None:
    """`ByVerifiedEmail` asks Clerk about a new user, whatever the claims are."""
    asked: list[str] = []

    def find(address: str) -> list[tuple[str, str]]:
        asked.append(address)
        return [("owner", "owner@example.com")]

    with pytest.raises(ConfigurationError, match="api="):
        World(repository=MemoryRepository(linker=ByVerifiedEmail(find)))
    repository = MemoryRepository(linker=ByVerifiedEmail(find))
    claims = World().verifier.verify(World().token(email="owner@example.com", email_verified=True))
    repository.put(new_records_of_token(claims, None))
    assert asked == []
    assert repository.find(claims.instance, claims.subject) is None  # no user is made from it


def test_an_own_test_of_a_linker_sees_no_profile_either() -> None:
    """`is_enough` decides about the record that the linker gets."""

    class Linker:
        def __call__(self, record: ClerkUser) -> str | None:
            raise AssertionError(record)

        def is_enough(self, record: ClerkUser) -> bool:
            return record.email is not None

    repository = MemoryRepository(linker=Linker())
    world = World()
    claims = world.verifier.verify(world.token(email="owner@example.com"))
    repository.put(new_records_of_token(claims, None))
    assert repository.find(claims.instance, claims.subject) is None


def test_a_token_names_no_role_and_verifies_no_address(world: World) -> None:
    """Whatever its claims are called."""
    user = world.resolve(
        email="a@example.com", email_verified=True, role="admin", public_metadata={"role": "admin"}, banned=True
    ).user
    assert (user.role, user.clerk.email_verified, user.clerk.public_metadata) == (None, False, "{}")
    world.repository.put([world.record(FULL, public_metadata='{"role":"author"}')])
    assert world.resolve(email="a@example.com").user.role == "author"


# ------------------------------------------------------------------------------------------------------- what is read


def profile_of(profile: Mapping[str, str], claims: Mapping[str, Any]) -> Profile | None:
    """The profile in a token with these claims."""
    world = World(profile)
    return world.verifier.verify(world.token(**claims)).profile


def test_each_field_is_read_from_its_claim() -> None:
    """Also from a claim in an object."""
    profile = {
        "email": "mail",
        "first_name": "who.first",
        "last_name": "who.last",
        "username": "a.b.c",
        "image_url": "image",
    }
    claims = {"mail": "a@b.c", "who": {"first": "Ada", "last": "L"}, "a": {"b": {"c": "ada"}}, "image": "https://i/1"}
    assert profile_of(profile, claims) == Profile("a@b.c", "Ada", "L", "ada", "https://i/1")
    assert profile_of(profile, {"mail": "a@b.c", "who": "Ada", "a": [{"b": 1}]}) == Profile("a@b.c")
    assert profile_of(profile, {"who.first": "Ada"}) == Profile()
    assert repr(Profile("a@b.c")) == "Profile()"


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "\t", "a\x00b", "a\nb", "\u202ea", "x" * (MAX_PROFILE_TEXT + 1), 7, 1.5, True, None),
        *(["a@b.c"], {"email": "a@b.c"}),
    ],
    ids=ascii,
)
def test_anything_but_a_bounded_text_is_ignored(value: Any) -> None:
    """The token stays valid, and the other fields count."""
    assert profile_of(PROFILE, {"email": value, "full_name": "Ada"}) == Profile(None, "Ada")
    assert profile_of(PROFILE, {"email": value}) == Profile()


def test_the_longest_text_is_stored() -> None:
    """With the limit itself."""
    longest = "x" * MAX_PROFILE_TEXT
    assert World().resolve(full_name=longest).user.name == longest


@pytest.mark.parametrize(
    "profile",
    [
        *({}, [], "email", ("email",), {"email"}, {"mail": "email"}, {"email": ""}, {"email": 1}, {"email": None}, 7),
        *({"email": "a..b"}, {"email": ".a"}, {"email": "unsafe_metadata.email"}, {"role": "role"}, {1: "email"}),
        *({"email_verified": "v"}, {"external_id": "id"}, {"public_metadata": "m"}, {"banned": "b"}),
        *({"name": "name", "first_name": "first"}, {"name": "name", "last_name": "last"}),
    ],
    ids=repr,
)
def test_a_wrong_profile_is_refused_at_the_start(profile: Any) -> None:
    """An unknown field, a claim without a name, and a name that would be stored twice."""
    with pytest.raises(ConfigurationError, match="profile"):
        Verifier(FakeClerk(5).instance, profile=profile)


def test_an_api_key_tells_no_profile() -> None:
    """Its creator writes its claims. A client's access token has none of yours."""
    at = OpaqueWorld()
    ada = at.clerk.create_user()
    key = at.clerk.create_api_key(ada, name="boss@example.com", claims={"email": "boss@example.com"})
    verifier = Verifier(
        at.instance,
        accept=["session", "api_key", "oauth"],
        opaque=at.opaque,
        profile={"email": "claims.email", "name": "name"},
        clock=at.clock,
    )
    assert verifier.verify(key.secret).profile is None
    assert verifier.verify(at.clerk.oauth_token(ada, claims={"name": "Boss"})).profile is None
    assert verifier.verify(at.clerk.token(ada, claims={"name": "Ada"})).profile == Profile(None, "Ada")


def test_without_the_option_nothing_is_read() -> None:
    """A claim of this name is a claim like any other."""
    world = World()
    resolver = Resolver(
        world.clerk.instance, world.repository, verifier=Verifier(world.clerk.instance, clock=world.clerk.clock)
    )
    principal = resolver.resolve(world.token(email="a@example.com"))
    assert (principal.user.email, principal.claims.profile) == (None, None)


def test_a_principal_of_a_job_carries_no_profile_of_its_token() -> None:
    """The user in it has it, as the repository does."""
    principal = World().resolve(email="a@example.com")
    again = Principal.from_dict(principal.to_dict())
    assert (again.claims.profile, again.user.email) == (None, "a@example.com")
    assert again.claims == principal.claims


# ------------------------------------------------------------------------------------------------ cost and convergence


class Counted(MemoryRepository):
    """Counts the writes, and can be away."""

    puts = 0
    away = False
    poll_every: float | None = 0.0

    def put(self, records: Any) -> Any:
        self.puts += 1
        return super().put(records)

    def poll(self) -> None:
        if self.away:
            raise RepositoryUnavailable


def test_an_unchanged_profile_is_not_written_again() -> None:
    """One write for each change, and none after Clerk has spoken."""
    repository = Counted()
    world = World(repository=repository)
    for email, puts in (("a@b.c", 1), ("a@b.c", 1), ("x@b.c", 2), ("x@b.c", 2)):
        world.resolve(email=email)
        assert repository.puts == puts
    repository.put([world.record(FULL)])
    world.resolve(email="y@b.c")
    assert repository.puts == 3


def test_a_new_profile_locks_no_caller_out() -> None:
    """While the repository is away, a caller that `serve_stale` admits is admitted with any profile."""
    repository = Counted()
    world = World(repository=repository, serve_stale=3600)
    world.resolve(email="a@b.c")
    repository.away = True
    assert world.resolve(email="x@b.c").user.email == "a@b.c"


def test_trust_own_id_leaves_the_profile_to_the_claims() -> None:
    """The user of a token alone has no profile: Clerk may have told a better one."""
    clerk = FakeClerk(5)
    clerk.clock.freeze()
    repository = MemoryRepository(clock=clerk.clock)
    verifier = Verifier(clerk.instance, own_id="id", profile=PROFILE, clock=clerk.clock)
    resolver = Resolver(clerk.instance, repository, verifier=verifier, trust_own_id=True)
    clerk.clock.advance(600)
    ada = clerk.create_user()
    for email in ("a@b.c", "x@b.c"):
        principal = resolver.resolve(clerk.token(ada, session="sess_1", claims={"id": "mine", "email": email}))
        assert (principal.user.id, principal.user.email) == ("mine", None)
        assert principal.claims.profile == Profile(email)
        clerk.clock.advance(1)


def _claims(world: World, at: int, email: str | None) -> Claims:
    payload = {"sub": world.ada.id, "iat": at, "exp": at + 60, "email": email}
    return world.verifier.rules._read_claims(
        "session", payload | {"iss": world.clerk.instance.issuer, "sid": "s", "v": 2}
    )


_statements = st.lists(
    st.tuples(st.sampled_from(["token", "embedded", "full", "deleted"]), st.sampled_from(["a@b.c", "x@b.c", None])),
    min_size=2,
    max_size=4,
)


@given(_statements)
def test_every_order_of_tokens_and_webhooks_ends_alike(statements: list[tuple[str, str | None]]) -> None:
    """Each has a second of its own. In whichever order they come, once the newest token has been seen again, all
    repositories have the same user."""
    world = World()
    instance, ada = world.clerk.instance.name, world.ada.id
    told: list[Claims | AnyRecord] = []
    for at, (kind, email) in enumerate(statements, 1):
        grade: Grade = EMBEDDED if kind == "embedded" else FULL
        if kind == "token":
            told.append(_claims(world, at, email))
        elif kind == "deleted":
            told.append(ClerkUser.deleted(instance, ada, observed_at=at * 1000))
        else:
            told.append(ClerkUser.make(grade, instance, ada, observed_at=at * 1000, email=email))
    tokens = [each for each in told if isinstance(each, Claims)]
    newest = [each for each in tokens if each.profile != Profile()][-1:]
    ends = set()
    for order in permutations(told):
        repository = MemoryRepository(ids=lambda record: "ada")
        for each in (*order, *newest):
            known = repository.find(instance, ada)
            repository.put(new_records_of_token(each, known) if isinstance(each, Claims) else [each])
        user = repository.user("ada")
        assert user is not None
        ends.add((user.clerk.said(), user.clerk.grade, user.deleted_at, user.role))
    assert len(ends) == 1
