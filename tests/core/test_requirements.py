"""What can be required of a caller: each word alone, all together, and what cannot be asked for."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from asgi_base import World
from clerkmap import Principal, Resolver
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
    TokenMissing,
    TokenOutdated,
)
from clerkmap.repositories import SqliteRepository

WORLD = World()
PERMISSIONS = ["org:invoices:create", "org:invoices:read"]


def principal(*, organization: bool = True, **options: Any) -> Principal:
    """Somebody who brings a token of this kind."""
    active = WORLD.organization if organization else None
    return WORLD.resolver.resolve(WORLD.clerk.token(WORLD.user, active, session="sess_1", **options))


def outcome(requirement: Requirement, who: Principal) -> type[ClerkmapError] | None:
    """What a principal is refused for, if they are."""
    try:
        requirement.check(who)
    except NotAllowed as error:
        return type(error)
    return None


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
    (R(role="org:admin"), {}, None),
    (R(role="admin"), {}, None),
    (R(role="org:org:admin"), {}, None),
    (R(role="member"), {}, RoleMissing),
    (R(role="Admin"), {}, RoleMissing),
    (R(role=" admin"), {}, RoleMissing),
    (R(role="org:"), {}, RoleMissing),
    (R(role="admin"), {"organization": False}, OrganizationMissing),
    (R(role="None"), {}, RoleMissing),
    (R(user_role="editor"), {}, None),
    (R(user_role="editor"), {"organization": False}, None),
    (R(user_role="admin"), {}, RoleMissing),
    (R(user_role="org:editor"), {}, RoleMissing),
    (R(permission="org:invoices:create"), {"permissions": PERMISSIONS}, None),
    (R(permission="invoices:create"), {"permissions": PERMISSIONS}, None),
    (R(permission="invoices:delete"), {"permissions": PERMISSIONS}, PermissionMissing),
    (R(permission="invoices"), {"permissions": PERMISSIONS}, PermissionMissing),
    (R(permission="invoices:create"), {}, PermissionMissing),
    (R(permission="invoices:create"), {"permissions": PERMISSIONS, "version": 1}, None),
    (R(permission="invoices:create"), {"organization": False}, OrganizationMissing),
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
    (R(role="admin", permission="invoices:read", user_role="editor"), {"permissions": PERMISSIONS}, None),
    (R(role="admin", permission="invoices:delete"), {"permissions": PERMISSIONS}, PermissionMissing),
    (R(role="member", permission="invoices:delete"), {"permissions": PERMISSIONS}, RoleMissing),
    (R(role="admin", feature="x", plan="y", not_impersonated=True), {"actor": "user_support"}, FeatureMissing),
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


@pytest.mark.parametrize("name", ["role", "user_role", "permission", "feature", "plan", "organization_page"])
@pytest.mark.parametrize("value", ["", " ", "\t", 1, True, b"admin", ["admin"], {"admin"}])
def test_a_text_is_a_text(name: str, value: Any) -> None:
    """A requirement that nobody could meet, or everybody, is refused where it is written."""
    with pytest.raises(ConfigurationError, match=name):
        Requirement(**{name: value})


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
    assert Requirement(role="admin") == Requirement(role="admin")
    assert len({Requirement(role="admin"), Requirement(role="admin"), Requirement()}) == 2
    with pytest.raises(AttributeError):
        Requirement().role = "admin"  # type: ignore[misc]
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
        Requirement(role="admin").check(demoted)
    Requirement(role="member").check(demoted)
    Requirement().check(demoted)


def test_a_permission_of_a_token_newer_than_the_role_counts() -> None:
    """Its webhook may be on the way still."""
    world = World()
    made_at = int(world.clock())
    world.rows.put([full(world, "org:member", made_at - 10)])
    promoted = world.resolver.resolve(world.token(permissions=PERMISSIONS))
    Requirement(permission="invoices:create").check(promoted)
    with pytest.raises(RoleMissing):  # which the repository is to know
        Requirement(role="admin").check(promoted)


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

    assert require(Requirement(role="admin", fresh_membership=True)).membership is not None
    theirs.put([full(world, "org:member", world.clock() + 1)])
    require(Requirement(role="admin"))
    with pytest.raises(RoleMissing):
        require(Requirement(role="admin", fresh_membership=True))
    fresh = require(Requirement(fresh_membership=True))
    assert fresh.membership is not None
    assert fresh.membership.role == "org:member"

    gone = full(world, "org:member", world.clock()).tombstone(int(world.clock() * 1000) + 5000)
    theirs.put([gone])
    require(Requirement(role="admin"))
    with pytest.raises(MembershipDeleted):
        require(Requirement(fresh_membership=True))
    mine.close()
    theirs.close()


def test_who_is_nobody_has_nothing() -> None:
    """A caller without a principal is refused for the reason there is none, whatever is required."""
    nobody = AuthResult(WORLD.resolver, TokenMissing())
    for required in (Requirement(), Requirement(role="admin"), Requirement(fresh_membership=True)):
        with pytest.raises(TokenMissing):
            nobody.require(required)
        with pytest.raises(TokenMissing):
            asyncio.run(nobody.arequire(required))


def test_what_type_checkers_are_told_of_the_keywords_is_what_there_is() -> None:
    """Whatever takes the words of a requirement takes all of them."""
    assert list(RequirementOptions.__annotations__) == list(Requirement.__dataclass_fields__)
