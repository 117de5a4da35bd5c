"""One grant has two forms, an opaque token and a JWT, and gets one verdict in both."""

from collections.abc import Callable
from typing import Any

import pytest

from clerkmap import Principal
from clerkmap.core.claims import Actor
from clerkmap.core.requirements import Requirement
from clerkmap.errors import ClerkmapError, ImpersonationRefused
from opaque_world import Shape, World

HERE, ELSEWHERE = "https://notes.example.com/mcp", "https://mail.example.com/mcp"
CIMD = "https://client.example.com/" + "a" * 1_900 + "/metadata.json"
SUPPORT = {"sub": "user_support", "iss": "https://dashboard.clerk.com"}
AGENTS = {"sub": "agent_2", "type": "agent", "act": {"client_id": CIMD, "act": {"sub": "user_support"}}}
ODD_ACTORS: list[object] = [[], "user_a", 5, True, {"sub": 5}, {"client_id": ""}]
ODD: list[object] = [[], {}, 5, True, ["", None], [5], {"a": HERE}]


def deep(levels: int) -> dict[str, Any]:
    """An actor that acts for an actor, and so on."""
    return {"sub": "agent"} if levels == 1 else {"sub": "agent", "act": deep(levels - 1)}


# What a grant says, beside whose it is.
GRANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "for this server": {"aud": HERE},
    "for this server, in a list": {"aud": [ELSEWHERE, HERE]},
    "for another server": {"aud": ELSEWHERE},
    "for others": {"aud": [ELSEWHERE, "https://c.example"]},
    **{f"for {odd!r}": {"aud": odd} for odd in ODD},
    "delegated": {"act": SUPPORT, "aud": HERE},
    "delegated twice": {"act": AGENTS},
    "delegated often": {"act": deep(8)},
    "delegated too often": {"act": deep(9)},
    "of an actor without a name": {"act": {"type": "agent"}},
    **{f"of the actor {odd!r}": {"act": odd} for odd in ODD_ACTORS},
    "of a client with a URL": {"client_id": CIMD},
    "of a client with too long a URL": {"client_id": CIMD + "a" * 200},
    "in an organization": {"org_id": "org_acme", "org_role": "org:admin", "org_slug": "acme"},
    "in a malformed organization": {"org_id": "acme"},
}


def verdict(principal: Callable[[], Principal]) -> object:
    """Who may come in and what is known of them, or the error."""
    try:
        found = principal()
    except ClerkmapError as error:
        return type(error)
    claims = found.claims
    return claims.kind, claims.scopes, claims.actor, claims.organization, claims.payload.get("aud")


@pytest.mark.parametrize("audience", [None, HERE])
@pytest.mark.parametrize("name", GRANTS)
def test_an_opaque_token_and_a_jwt(name: str, audience: str | None) -> None:
    """Whatever Clerk says of a grant, and whichever audience is configured."""
    grant = GRANTS[name]
    world = World(settings={"audience": audience})
    world.api.change = lambda said: said | grant
    opaque = world.clerk.create_oauth_token(world.ann, scopes=["read"])
    jwt = world.clerk.oauth_token(world.ann, scopes=["read"], claims=grant)
    told = verdict(lambda: world.resolver.resolve(opaque.secret))
    assert told == verdict(lambda: world.resolver.resolve(jwt))


@pytest.mark.parametrize(
    ("name", "is_let_in"), [("of a client with a URL", True), ("of a client with too long a URL", False)]
)
def test_a_client_may_be_named_by_a_url(name: str, is_let_in: bool) -> None:
    """Clients that publish their metadata have the address of these as their id."""
    world = World()
    token = world.clerk.oauth_token(world.ann, scopes=["read"], claims=GRANTS[name])
    assert isinstance(verdict(lambda: world.resolver.resolve(token)), tuple) == is_let_in


@pytest.mark.parametrize(
    ("audience", "name", "is_let_in"),
    [
        (None, "plain", True),
        (None, "for this server", False),
        (None, "for another server", False),
        (HERE, "plain", False),
        (HERE, "for this server", True),
        (HERE, "for this server, in a list", True),
        (HERE, "for another server", False),
    ],
)
def test_the_audience_of_an_opaque_token(audience: str | None, name: str, is_let_in: bool) -> None:
    """A token for another server is refused, and one for this server is let in where it is configured."""
    world = World(settings={"audience": audience})
    token = world.clerk.create_oauth_token(world.ann, audience=GRANTS[name].get("aud"))
    assert isinstance(verdict(lambda: world.resolver.resolve(token.secret)), tuple) == is_let_in


def tokens_of(world: World, act: Shape) -> dict[str, str]:
    """A token of each kind that a person may have, delegated to an actor."""
    world.api.change = lambda said: said | {"act": act}
    return {
        "session": world.clerk.token(world.ann, claims={"act": act}),
        "oauth": world.clerk.oauth_token(world.ann, claims={"act": act}),
        "opaque oauth": world.clerk.create_oauth_token(world.ann).secret,
        "api_key": world.clerk.create_api_key(world.ann).secret,
    }


def test_a_delegated_token_of_any_kind() -> None:
    """It names its actors, the one that acts now first, and does not pass where the person is asked for."""
    world = World()
    for name, token in tokens_of(world, AGENTS).items():
        principal = world.resolver.resolve(token)
        assert principal.actor is not None, name
        assert principal.actor.chain == (principal.actor, principal.actor.previous, Actor("user_support"))
        assert [(each.id, each.kind) for each in principal.actor.chain] == [
            ("agent_2", "agent"),
            (CIMD, None),
            ("user_support", None),
        ]
        with pytest.raises(ImpersonationRefused):
            Requirement(not_impersonated=True).check(principal)
        assert Principal.from_dict(principal.to_dict()) == principal
        assert CIMD not in repr(principal.actor)


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scopes": "mch_a mch_b", "aud": ["mch_c"]}, ("mch_a", "mch_b")),
        ({"scopes": "", "aud": ["mch_c"]}, ()),
        ({"scopes": None, "aud": ["mch_c", "", "mch_d"]}, ("mch_c", "mch_d")),
        ({"scopes": None, "aud": "mch_c"}, ()),
        ({"scopes": None}, ()),
    ],
)
def test_the_scopes_of_a_machine(claims: dict[str, Any], scopes: tuple[str, ...]) -> None:
    """They are its scopes, or its audience where there are none, as Clerk's own client reads them."""
    world = World()
    assert world.verifier.verify(world.clerk.machine_token(claims=claims)).scopes == scopes
