"""What can be required of a caller: each word alone, all together, and what cannot be asked for."""

import asyncio
from enum import Enum, StrEnum
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_base import World
from clerkmap import Principal, Resolver, Verifier
from clerkmap.adapters.authenticator import requirement_of
from clerkmap.auth.result import AuthResult
from clerkmap.core.records import ClerkMembership
from clerkmap.core.requirements import Requirement, RequirementOptions
from clerkmap.errors import (
    ClerkmapError,
    ConfigurationError,
    FeatureMissing,
    ImpersonationRefused,
    MembershipDeleted,
    NotAllowed,
    OrganizationMissing,
    PermissionMissing,
    PlanMissing,
    ReverificationNeeded,
    RoleMissing,
    ScopeMissing,
    TokenMissing,
    TokenOutdated,
)
from clerkmap.repositories import SqliteRepository

WORLD = World()
PERMISSIONS = ["org:invoices:create", "org:invoices:read"]


def principal(*, organization: bool = True, **options: Any) -> Principal:
    """Somebody who brings a token of this kind."""
    if "scopes" in options:
        accepting = Verifier(WORLD.clerk.instance, accept=["oauth"], clock=WORLD.clock)
        resolver = Resolver(WORLD.clerk.instance, WORLD.rows, verifier=accepting)
        return resolver.resolve(WORLD.clerk.oauth_token(WORLD.user, **options))
    active = WORLD.organization if organization else None
    return WORLD.resolver.resolve(WORLD.clerk.token(WORLD.user, active, session="sess_1", **options))


@cache
def callers() -> tuple[Principal, ...]:
    """Callers with each kind of grant, and without."""
    return (
        principal(),
        principal(organization=False),
        principal(permissions=PERMISSIONS, features=["o:pro", "u:editor"], plan="u:pro"),
        principal(permissions=["org:admin"], features=["u:pro"], plan="o:pro"),
        principal(scopes=["admin", "invoices:read"]),
        principal(scopes=[]),
    )


def outcome(requirement: Requirement, who: Principal) -> type[ClerkmapError] | None:
    """What a principal is refused for, if they are."""
    try:
        requirement.check(who)
    except NotAllowed as error:
        return type(error)
    return None


class Roles(StrEnum):
    """An enumeration is a collection of strings, too."""

    EDITOR = "editor"
    ADMIN = "admin"


class OldRoles(str, Enum):  # noqa: UP042 - as applications for older versions of Python write it
    """An enumeration whose members' text is not their value."""

    ADMIN = "admin"


R = Requirement
PAGE = "/choose"
# What is required, of what token, and what comes of it. None: it is enough.
TABLE: list[tuple[Requirement, dict[str, Any], type[NotAllowed] | None]] = [
    (R(), {}, None),
    (R(), {"organization": False}, None),
    (R(fresh_membership=True), {"organization": False}, None),
    (R(organization=True), {}, None),
    (R(organization=True), {"organization": False}, OrganizationMissing),
    (R(organization_page=PAGE), {}, None),
    (R(organization_page=PAGE), {"organization": False}, OrganizationMissing),
    (R(organization_role="org:admin"), {}, None),
    (R(organization_role="admin"), {}, None),
    (R(organization_role="org:org:admin"), {}, None),
    (R(organization_role="member"), {}, RoleMissing),
    (R(organization_role="Admin"), {}, RoleMissing),
    (R(organization_role=("member", "admin")), {}, None),
    (R(organization_role=["member", "billing"]), {}, RoleMissing),
    (R(organization_role={"admin", "member"}), {"organization": False}, OrganizationMissing),
    (R(organization_role="admin"), {"organization": False}, OrganizationMissing),
    (R(organization_role="None"), {}, RoleMissing),
    (R(user_role="editor"), {}, None),
    (R(user_role="editor"), {"organization": False}, None),
    (R(user_role="admin"), {}, RoleMissing),
    (R(user_role=("admin", "editor")), {}, None),
    (R(user_role=frozenset(("admin", "author"))), {}, RoleMissing),
    (R(user_role="org:editor"), {}, RoleMissing),
    (R(permission="org:invoices:create"), {"permissions": PERMISSIONS}, None),
    (R(permission="invoices:create"), {"permissions": PERMISSIONS}, None),
    (R(permission="invoices:delete"), {"permissions": PERMISSIONS}, PermissionMissing),
    (R(permission="invoices"), {"permissions": PERMISSIONS}, PermissionMissing),
    (R(permission="invoices:create"), {}, PermissionMissing),
    (R(permission="invoices:create"), {"permissions": PERMISSIONS, "version": 1}, None),
    (R(permission="invoices:create"), {"organization": False}, OrganizationMissing),
    (R(permission=("invoices:delete", "org:invoices:read")), {"permissions": PERMISSIONS}, None),
    (R(permission=("invoices:delete", "invoices")), {"permissions": PERMISSIONS}, PermissionMissing),
    (R(scope="notes:read"), {"scopes": ["notes:read", "email"]}, None),
    (R(scope=("notes:write", "notes:read")), {"scopes": ["notes:read"]}, None),
    (R(scope=("notes:write", "notes:rea")), {"scopes": ["notes:read"]}, ScopeMissing),
    (R(scope="Notes:read"), {"scopes": ["notes:read"]}, ScopeMissing),
    (R(scope="notes:read"), {"scopes": []}, ScopeMissing),
    (R(scope="notes:read"), {}, ScopeMissing),  # a session token has no scopes
    (R(scope="notes:read"), {"claims": {"scope": "notes:read", "scp": ["notes:read"]}}, ScopeMissing),
    (R(feature=("themes", "org:invoices")), {"features": ["o:invoices"]}, None),
    (R(feature=("themes", "user:invoices")), {"features": ["o:invoices"]}, FeatureMissing),
    (R(plan=("team", "pro")), {"plan": "o:pro"}, None),
    (R(plan=("team", "user:pro")), {"plan": "o:pro"}, PlanMissing),
    (R(feature="invoices"), {"features": ["o:invoices"]}, None),
    (R(feature="org:invoices"), {"features": ["o:invoices"]}, None),
    (R(feature="user:invoices"), {"features": ["o:invoices"]}, FeatureMissing),
    (R(feature="themes"), {"features": ["u:themes"], "organization": False}, None),
    (R(feature="themes"), {}, FeatureMissing),
    (R(plan="pro"), {"plan": "o:pro"}, None),
    (R(plan="user:pro"), {"plan": "o:pro"}, PlanMissing),
    (R(plan="pro"), {"plan": "u:pro", "organization": False}, None),
    (R(plan="pro"), {}, PlanMissing),
    (R(not_impersonated=True), {}, None),
    (R(not_impersonated=True), {"actor": "user_support"}, ImpersonationRefused),
    (R(), {"actor": "user_support"}, None),
    (R(reverified="strict"), {"factor_ages": (0, 9)}, None),
    (R(reverified="strict"), {"factor_ages": (0, 10)}, ReverificationNeeded),
    (R(reverified="strict"), {"factor_ages": (9, -1)}, None),
    (R(reverified="strict_mfa"), {"factor_ages": (11, 0)}, ReverificationNeeded),
    (R(reverified="moderate"), {"factor_ages": (600, 59)}, None),
    (R(reverified="lax"), {"factor_ages": (0, 1440)}, ReverificationNeeded),
    (R(reverified=("first_factor", 30)), {"factor_ages": (29, -1)}, None),
    (R(reverified=("first_factor", 30)), {"factor_ages": (30, 0)}, ReverificationNeeded),
    (R(reverified=("second_factor", 5)), {"factor_ages": (-1, -1)}, ReverificationNeeded),
    (R(reverified="lax"), {"claims": {"fva": None}}, ReverificationNeeded),
    (R(reverified="lax"), {"claims": {"fva": ["0", "0"]}}, ReverificationNeeded),
    (R(organization_role="admin", permission="invoices:read", user_role="editor"), {"permissions": PERMISSIONS}, None),
    (R(organization_role="admin", permission="invoices:delete"), {"permissions": PERMISSIONS}, PermissionMissing),
    (R(organization_role="member", permission="invoices:delete"), {"permissions": PERMISSIONS}, RoleMissing),
    (
        R(organization_role="admin", feature="x", plan="y", not_impersonated=True),
        {"actor": "user_support"},
        FeatureMissing,
    ),
]


@pytest.fixture(scope="module", autouse=True)
def _the_user_is_an_editor() -> None:
    WORLD.rows.set_role(principal().user.id, "editor")


@pytest.mark.parametrize(("required", "token", "want"), TABLE, ids=str)
def test_each_word_asks_for_what_it_says(
    required: Requirement, token: dict[str, Any], want: type[NotAllowed] | None
) -> None:
    """Alone and together; what is named must all hold."""
    assert outcome(required, principal(**token)) is want


def test_every_word_has_a_case_of_either_kind() -> None:
    """So that a word that is added is tried."""
    for name in Requirement.__slots__:
        if name != "fresh_membership":  # below
            asked = [want for required, _, want in TABLE if getattr(required, name)]
            assert None in asked
            assert any(asked), name


# --------------------------------------------------------------------------------------------- what cannot be asked


@pytest.mark.parametrize("name", ["organization_role", "user_role", "permission", "scope", "feature", "plan"])
@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "\t", " admin", "admin\n", 1, True, b"admin", bytearray(b"admin"), (), [], set(), {}),
        *({"admin": True}, ["admin", ""], ["admin", 1], ["admin", None], [["admin"]], ("admin", b"member")),
        *(iter(["admin"]), (name for name in ("admin",)), object()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_option_takes_a_name_or_several(name: str, value: Any) -> None:
    """A requirement that no caller could meet is refused where it is written."""
    with pytest.raises(ConfigurationError, match=name):
        Requirement(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("organization_role", "org:"), ("permission", "org:"), ("permission", "org:org:")),
        *(("scope", "notes:read notes:write"), ("scope", ("a", "b c")), ("feature", "team:export"), ("plan", "org:")),
        *(("plan", ("pro", "teams:pro")), ("feature", "user:"), ("feature", ":export")),
    ],
)
def test_a_name_that_no_caller_can_have_is_refused(name: str, value: Any) -> None:
    """A prefix alone, an unknown prefix, or several scopes in one string."""
    with pytest.raises(ConfigurationError, match=name):
        Requirement(**{name: value})


@pytest.mark.parametrize("value", ["", " ", 1, True, b"/choose", ["/choose"]])
def test_a_page_is_a_text(value: Any) -> None:
    """A page of another type is refused."""
    with pytest.raises(ConfigurationError, match="organization_page"):
        Requirement(organization_page=value)


@pytest.mark.parametrize("name", ["role", "roles", "org_role", "scopes", "permissions", "user_roles"])
def test_an_unknown_option_is_refused(name: str) -> None:
    """Each adapter's `require(...)` names the options that exist."""
    with pytest.raises(ConfigurationError, match=f"no option {name}: .*organization_role, user_role"):
        requirement_of(None, cast(RequirementOptions, {name: "admin"}))
    with pytest.raises(TypeError):
        Requirement(**cast(Any, {name: "admin"}))


@given(
    st.sampled_from(["organization_role", "user_role", "permission", "scope", "feature", "plan"]),
    st.lists(st.sampled_from(["admin", "editor", "invoices:read", "org:pro", "pro", "user:pro"]), min_size=1),
    st.randoms(),
)
def test_any_of_is_the_or_of_its_names(option: str, names: list[str], random: Random) -> None:
    """For every kind of token, a collection admits a caller that one of its names admits, and no other."""
    if option in ("feature", "plan"):
        names = [name for name in names if name != "invoices:read"] or ["pro"]
    who = random.choice(callers())
    each = [outcome(Requirement(**cast(Any, {option: name})), who) is None for name in names]
    shape = random.choice([tuple, list, set, frozenset])
    assert (outcome(Requirement(**cast(Any, {option: shape(names)})), who) is None) is any(each)


@pytest.mark.parametrize("name", ["organization", "not_impersonated", "fresh_membership"])
@pytest.mark.parametrize("value", ["", "no", 0, 1, None, []])
def test_a_switch_is_a_switch(name: str, value: Any) -> None:
    """Nothing that is merely true or false in Python's eyes."""
    with pytest.raises(ConfigurationError, match=name):
        Requirement(**{name: value})


@pytest.mark.parametrize(
    "value",
    [
        *("", "stricter", "Strict", 10, True, (), ("first_factor",), ("first_factor", 10, 1), ["first_factor", 10]),
        *(("third_factor", 10), ("first_factor", 0), ("first_factor", -1), ("first_factor", 1.5)),
        *(("first_factor", True), ("first_factor", "10"), (["first_factor"], 10)),
    ],
    ids=repr,
)
def test_a_reverification_is_a_preset_or_a_level_and_minutes(value: Any) -> None:
    """Clerk's own words."""
    with pytest.raises(ConfigurationError, match="reverified"):
        Requirement(reverified=value)


@pytest.mark.parametrize(
    "path",
    [
        *("https://evil.example/", "http:evil.example", "//evil.example", "///evil.example", "/\\evil.example"),
        *(
            "\\\\evil.example",
            "\\/evil.example",
            "/a\\..\\b",
            "evil.example",
            "choose",
            "./choose",
            "../choose",
            "?a=b",
        ),
        *("#choose", "/choose\r\nSet-Cookie: a=b", "/choose\n", "/choose\t", "/\t/evil.example", "/\n/evil.example"),
        *(" /choose", "/choose page", "/ch\x00oose", "/ch\x7foose", "/chöose", "/\u2028", "\u202e/choose", "/\u3000/a"),
        *("javascript:alert(1)", "data:text/html,a", "mailto:a@example.org", "///", "//", "/／evil.example"),
    ],
    ids=repr,
)
def test_a_page_is_a_path_of_this_application(path: str) -> None:
    """Whatever a browser would take for another place is refused."""
    with pytest.raises(ConfigurationError, match="organization_page"):
        Requirement(organization_page=path)


@pytest.mark.parametrize("path", ["/", "/choose", "/a/b?next=/c&d=e#f", "/a//b", "/%2F%2Fevil.example", "/@a", "/a:b"])
def test_other_paths_are_fine(path: str) -> None:
    """Each leads to this very host."""
    assert Requirement(organization_page=path).organization_page == path


def test_a_requirement_is_a_value() -> None:
    """Equal to its equal, usable as a key, and never changed."""
    assert Requirement(organization_role="admin") == Requirement(organization_role="admin")
    assert len({Requirement(organization_role="admin"), Requirement(organization_role="admin"), Requirement()}) == 2
    assert Requirement(organization_role="admin") == Requirement(organization_role=["org:admin"])
    assert hash(R(user_role=["a", "b"])) == hash(R(user_role=("b", "a", "b")))
    assert R(user_role=Roles).user_role == ("admin", "editor")
    assert R(permission=OldRoles.ADMIN).permission == ("org:admin",)
    with pytest.raises(AttributeError):
        Requirement().user_role = "admin"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Requirement("admin")  # type: ignore[call-arg]


# ------------------------------------------------------------------------------------- a role that changed meanwhile


def full(world: World, role: str, at: float) -> ClerkMembership:
    """A webhook's word on the membership, of that second."""
    return ClerkMembership.full(
        world.clerk.instance.name,
        "orgmem_1",
        clerk_user_id=world.user.id,
        clerk_organization_id=world.organization.id,
        role=role,
        observed_at=int(at * 1000),
        updated_at=int(at * 1000),
    )


def test_a_permission_of_a_token_older_than_the_role_is_refused() -> None:
    """What the new role permits only a new token tells. A role is judged by what the repository knows."""
    world = World()
    made_at = int(world.clock())
    token = world.token(permissions=PERMISSIONS)
    needs = Requirement(permission="invoices:create")
    world.rows.put([full(world, "org:admin", made_at - 10)])
    needs.check(world.resolver.resolve(token))

    world.rows.put([full(world, "org:member", made_at + 1)])
    demoted = world.resolver.resolve(token)
    with pytest.raises(TokenOutdated):
        needs.check(demoted)
    with pytest.raises(RoleMissing):
        Requirement(organization_role="admin").check(demoted)
    Requirement(organization_role="member").check(demoted)
    Requirement().check(demoted)


def test_a_permission_of_a_token_newer_than_the_role_counts() -> None:
    """Its webhook may be on the way still."""
    world = World()
    made_at = int(world.clock())
    world.rows.put([full(world, "org:member", made_at - 10)])
    promoted = world.resolver.resolve(world.token(permissions=PERMISSIONS))
    Requirement(permission="invoices:create").check(promoted)
    with pytest.raises(RoleMissing):  # which the repository is to know
        Requirement(organization_role="admin").check(promoted)


def test_a_token_of_the_same_role_is_not_outdated() -> None:
    """Whatever else was said of the membership since."""
    world = World()
    world.rows.put([full(world, "org:admin", world.clock() + 5)])
    principal = world.resolver.resolve(world.token(permissions=PERMISSIONS))
    Requirement(permission="invoices:create").check(principal)
    assert principal.membership is not None
    assert principal.membership.role == "org:admin"


# -------------------------------------------------------------------------------------------------- asking anew


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_fresh_membership_is_asked_of_the_repository(tmp_path: Path, colour: str) -> None:
    """What somebody else wrote into the file a moment ago counts, although memory has not heard of it."""
    world = World()
    mine = SqliteRepository.open(tmp_path / "app.db", clock=world.clock)
    theirs = SqliteRepository.open(tmp_path / "app.db", clock=world.clock)
    resolver = Resolver(world.clerk.instance, mine, verifier=world.verifier, monotonic=lambda: 1.0)

    def require(required: Requirement) -> Principal:
        caller = AuthResult(resolver, resolver.resolve(world.token(session="sess_1")))
        return caller.require(required) if colour == "sync" else asyncio.run(caller.arequire(required))

    assert require(Requirement(organization_role="admin", fresh_membership=True)).membership is not None
    theirs.put([full(world, "org:member", world.clock() + 1)])
    require(Requirement(organization_role="admin"))
    with pytest.raises(RoleMissing):
        require(Requirement(organization_role="admin", fresh_membership=True))
    fresh = require(Requirement(fresh_membership=True))
    assert fresh.membership is not None
    assert fresh.membership.role == "org:member"

    gone = full(world, "org:member", world.clock()).tombstone(int(world.clock() * 1000) + 5000)
    theirs.put([gone])
    require(Requirement(organization_role="admin"))
    with pytest.raises(MembershipDeleted):
        require(Requirement(fresh_membership=True))
    mine.close()
    theirs.close()


def test_who_is_nobody_has_nothing() -> None:
    """A caller without a principal is refused for the reason there is none, whatever is required."""
    nobody = AuthResult(WORLD.resolver, TokenMissing())
    for required in (Requirement(), Requirement(organization_role="admin"), Requirement(fresh_membership=True)):
        with pytest.raises(TokenMissing):
            nobody.require(required)
        with pytest.raises(TokenMissing):
            asyncio.run(nobody.arequire(required))


def test_what_type_checkers_are_told_of_the_keywords_is_what_there_is() -> None:
    """Whatever takes the words of a requirement takes all of them."""
    assert list(RequirementOptions.__annotations__) == list(Requirement.__dataclass_fields__)
