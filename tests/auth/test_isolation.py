"""Two instances never accept each other's tokens, nor see each other's users, whatever they share."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from clerkmap import Claims, Instance, Repository, Resolver, TokenError, Verifier
from clerkmap.clerk.jwks import RemoteKeys
from clerkmap.errors import BadSignature, IssuerRefused, PartyRefused
from clerkmap.repositories import MemoryRepository, SqliteRepository
from clerkmap.testing import Clock, FakeClerk, FakeOrganization, FakeUser
from key_server import NOON, KeyServer

SIZE = 16
KID = "ins_shared"
USERS = [FakeUser("user_shared"), FakeUser("user_other")]
ORGANIZATION = FakeOrganization("org_shared", "Shared", "shared")
CLOCK = Clock(NOON)
Ask = Callable[[Verifier, str], Claims]
Grid = list[list[bool]]
DIAGONAL: Grid = [[row == column for column in range(SIZE)] for row in range(SIZE)]

sync: Ask = Verifier.verify


def from_a_task(verifier: Verifier, token: str) -> Claims:
    return asyncio.run(verifier.averify(token))


def from_memory_first(verifier: Verifier, token: str) -> Claims:
    return verifier.verify_nowait(token) or verifier.verify(token)


@pytest.fixture(scope="module")
def clerks() -> list[FakeClerk]:
    """Sixteen environments. Their keys have one id, and their people and organizations the same ones."""
    return [FakeClerk(seed, clock=CLOCK, kid=KID) for seed in range(SIZE)]


@pytest.fixture(scope="module")
def tokens(clerks: list[FakeClerk]) -> list[str]:
    """One token of each, for the person of the same id in the organization of the same id."""
    return [clerk.token(USERS[0], ORGANIZATION, role="org:admin", expires_in=3_600) for clerk in clerks]


def local(clerks: list[FakeClerk]) -> list[Verifier]:
    return [Verifier(clerk.make_instance(), clock=CLOCK) for clerk in clerks]


def pasted(clerks: list[FakeClerk]) -> list[Verifier]:
    return [Verifier(clerk.make_instance(jwks=None, jwt_key=clerk.key.pem()), clock=CLOCK) for clerk in clerks]


def remote(clerks: list[FakeClerk]) -> list[Verifier]:
    verifiers = []
    for clerk in clerks:
        instance = clerk.make_instance(jwks=None)
        keys = RemoteKeys(instance, transport=KeyServer(clerk), monotonic=Clock(5_000.0))
        verifiers.append(Verifier(instance, keys=keys, clock=CLOCK))
    return verifiers


def accepts(verifier: Verifier, token: str, ask: Ask) -> bool:
    """Whether it lets the token in; anything but a refusal of the token is an error."""
    try:
        claims = ask(verifier, token)
    except TokenError:
        return False
    assert claims.instance == verifier.instance.name
    return True


def orders(name: str) -> list[tuple[int, int]]:
    """All pairs of a verifier and a token, in one order or another."""
    pairs = [(row, column) for row in range(SIZE) for column in range(SIZE)]
    if name == "strangers first":
        pairs.sort(key=lambda pair: pair[0] == pair[1])
    elif name == "token by token":
        pairs.sort(key=lambda pair: pair[1])
    elif name == "backwards":
        pairs.reverse()
    elif name == "at random":
        Random(7).shuffle(pairs)
    return pairs


@pytest.mark.parametrize("ask", [sync, from_a_task, from_memory_first])
@pytest.mark.parametrize("order", ["row by row", "token by token", "strangers first", "backwards", "at random"])
@pytest.mark.parametrize("verifiers", [local, pasted, remote])
def test_only_the_diagonal_passes(
    clerks: list[FakeClerk],
    tokens: list[str],
    verifiers: Callable[[list[FakeClerk]], list[Verifier]],
    order: str,
    ask: Ask,
) -> None:
    """Sixteen verifiers, sixteen tokens, one key id: first with nothing in memory, then with everything."""
    made = verifiers(clerks)
    for _ in ("cold", "warm"):
        grid: Grid = [[False] * SIZE for _ in range(SIZE)]
        for row, column in orders(order):
            grid[row][column] = accepts(made[row], tokens[column], ask)
        assert grid == DIAGONAL


def test_a_strangers_signature_is_what_is_wrong(clerks: list[FakeClerk], tokens: list[str]) -> None:
    """Even where a token claims to be of the verifier's instance."""
    for verifier in remote(clerks[:3]):
        for clerk in clerks[3:6]:
            with pytest.raises(BadSignature):
                verifier.verify(clerk.token(USERS[0], claims={"iss": verifier.instance.issuer}))
            with pytest.raises(BadSignature):
                verifier.verify(tokens[clerk.seed])


def test_one_key_in_two_instances_is_told_apart_by_the_issuer(clerks: list[FakeClerk], tokens: list[str]) -> None:
    """Should two instances ever come to share a key, the issuer still parts them."""
    first, second = clerks[:2]
    verifier = Verifier(second.make_instance(jwks=first.jwks()), clock=CLOCK)
    with pytest.raises(IssuerRefused):
        verifier.verify(tokens[0])
    assert verifier.verify(first.token(USERS[0], claims={"iss": second.issuer})).instance == second.frontend_api


def test_key_servers_are_asked_each_for_its_own(clerks: list[FakeClerk], tokens: list[str]) -> None:
    """A token of another instance makes no verifier ask anybody but its own key server."""
    servers = [KeyServer(clerk) for clerk in clerks]
    for clerk, server in zip(clerks, servers, strict=True):
        instance = clerk.make_instance(jwks=None)
        verifier = Verifier(instance, keys=RemoteKeys(instance, transport=server), clock=CLOCK)
        for token in tokens:
            accepts(verifier, token, sync)
    assert [set(server.urls) for server in servers] == [{f"{clerk.issuer}/.well-known/jwks.json"} for clerk in clerks]


@pytest.fixture(params=["memory", "file"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Repository]:
    """One for all sixteen."""
    made: Repository = MemoryRepository() if request.param == "memory" else SqliteRepository.open(tmp_path / "app.db")
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("colour", [Resolver.resolve, lambda resolver, token: asyncio.run(resolver.aresolve(token))])
@pytest.mark.parametrize("verifiers", [local, remote])
def test_the_same_ids_are_other_people(
    clerks: list[FakeClerk],
    tokens: list[str],
    repository: Repository,
    verifiers: Callable[[list[FakeClerk]], list[Verifier]],
    colour: Callable[[Resolver, str], object],
) -> None:
    """Sixteen users and organizations come out of one person's id and one organization's, and stay sixteen."""
    made = [Resolver(verifier.instance, repository, verifier=verifier) for verifier in verifiers(clerks)]
    seen: list[list[tuple[object, object]]] = []
    for _ in ("cold", "warm"):
        ids: list[tuple[object, object]] = []
        for row, resolver in enumerate(made):
            for column, token in enumerate(tokens):
                if row != column:
                    with pytest.raises(TokenError):
                        colour(resolver, token)
            principal = resolver.resolve(tokens[row])
            assert colour(resolver, tokens[row]) == principal
            assert principal.organization is not None
            assert principal.user.clerk.instance == resolver.verifier.instance.name
            ids.append((principal.user.id, principal.organization.id))
        seen.append(ids)
    assert seen[0] == seen[1]
    assert len({user for user, _ in seen[0]}) == SIZE
    assert len({organization for _, organization in seen[0]}) == SIZE
    for clerk, (user, organization) in zip(clerks, seen[0], strict=True):
        standing = repository.find(clerk.frontend_api, USERS[0].id, ORGANIZATION.id)
        assert standing is not None
        assert standing.organization is not None
        assert (standing.user.id, standing.organization.id) == (user, organization)
        assert repository.find(clerk.frontend_api, USERS[1].id) is None


def test_two_policies_for_one_instance_do_not_mix(clerks: list[FakeClerk], repository: Repository) -> None:
    """What one resolver has let in and remembers, the other with other parties still refuses."""
    clerk = clerks[0]
    parties = ["https://a.example", "https://b.example"]
    made = []
    for party in parties:
        instance: Instance = clerk.make_instance(authorized_parties=[party])
        made.append(Resolver(instance, repository, verifier=Verifier(instance, clock=CLOCK)))
    own = [clerk.token(USERS[0], party=party) for party in parties]
    for _ in ("cold", "warm", "hot"):
        users = {made[row].resolve(own[row]).user.id for row in range(2)}
        assert len(users) == 1, "the person is the same"
        for row in range(2):
            for ask in (made[row].resolve, made[row].resolve_nowait, made[row].verifier.verify):
                with pytest.raises(PartyRefused):
                    ask(own[1 - row])
            with pytest.raises(PartyRefused):
                asyncio.run(made[row].aresolve(own[1 - row]))
