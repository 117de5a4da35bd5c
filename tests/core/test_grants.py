"""What a token grants: permissions, features, plans, and factors of an age. Read narrowly, and nothing raises."""

from typing import Any

import pytest

from claims_in_hand import organized, read

INVOICES = frozenset({"org:invoices:read", "org:invoices:create", "org:invoices:export"})
SIX = INVOICES | {"org:reports:read", "org:reports:export", "org:members:delete"}
WORDS = "read,create,delete,export"
# What is no text, and what is no list of numbers.
NO_TEXT: tuple[Any, ...] = (None, "", 5, [], [5], {}, {"o": "a"}, True, 1.5)


@pytest.mark.parametrize(
    ("fea", "per", "fpm", "expected"),
    [
        # Where every way of lining masks up agrees.
        ("o:invoices,ou:reports,o:members,u:themes", WORDS, "11,9,4,0", SIX),
        ("o:dashboard,o:teams", "manage,read", "3,2", {"org:dashboard:manage", "org:dashboard:read", "org:teams:read"}),
        ("ou:memberships,u:impersonation", "read,manage", "3,0", {"org:memberships:read", "org:memberships:manage"}),
        ("uo:reports", "read", "1", {"org:reports:read"}),
        # Where a person's own feature stands before an organization's, only what both ways grant is granted.
        ("u:themes,o:invoices,ou:reports,o:members", WORDS, "0,11,9,4", {"org:reports:read", "org:reports:export"}),
        ("u:themes,o:invoices,ou:reports,o:members", WORDS, "0,11,4,9", set()),
        ("o:reservations,u:dashboard,uo:chat,o:access", "read,manage", "2,3", {"org:reservations:manage"}),
        ("u:themes,o:invoices", WORDS, "15,15", {f"org:invoices:{word}" for word in WORDS.split(",")}),
        ("u:themes,o:invoices", WORDS, "0,15", set()),
        # A malformed item is no feature, and keeps its place among all, but has none among the organization's.
        ("o:invoices,bad,o:members", "read", "1,1,1", {"org:invoices:read", "org:members:read"}),
        ("o:invoices,bad,o:members", "read", "1,0,1", {"org:invoices:read"}),
        ("bad,o:invoices", "read", "1,0", set()),
        ("o:,o:invoices", "read", "1,1", {"org:invoices:read"}),
        (":x,o:invoices", "read", "1,1", {"org:invoices:read"}),
        ("foo:x,o:invoices", "read", "1,1", {"org:invoices:read"}),  # an unknown scope, though there is an o in it
        ("O:x,o:invoices", "read", "1,1", {"org:invoices:read"}),
        ("oo:x,uou:y,o:invoices", "read", "1,1,1", {"org:invoices:read"}),
        ("u:themes", "read", "1", set()),
        # Masks.
        ("o:a", "read", "-1", set()),
        ("o:a", "read,write", "1_0", set()),
        ("o:a", "read", "1.5", set()),
        ("o:a", "read", "1invalid", set()),
        ("o:a", "read", "+1", set()),
        ("o:a", "read", "0x1", set()),
        ("o:a", "read", "1e0", set()),
        ("o:a", "read", "\u0661", set()),
        ("o:a", "read", "\u00b9", set()),
        ("o:a", "read", "1\n1", set()),
        ("o:a", "read", "", set()),
        ("o:a,o:b", "read", ",1", {"org:b:read"}),
        ("o:a,o:b", "read", "x,1", {"org:b:read"}),
        ("o:a", "read,write", " 3", {"org:a:read", "org:a:write"}),
        (" o:a , o:b ", " read , write ", " 1 , 2 ", {"org:a:read", "org:b:write"}),
        ("o:a", "read,write", "0007", {"org:a:read", "org:a:write"}),
        ("o:a", "read,write", "7", {"org:a:read", "org:a:write"}),
        ("o:a", "read,write", "4", set()),
        ("o:a", ",".join(f"p{n}" for n in range(101)), str(1 << 100), {"org:a:p100"}),
        ("o:a", "read", "9" * 400, {"org:a:read"}),
        ("o:a", "read", "9" * 401, set()),
        ("o:a", "read", "9" * 5000, set()),
        ("o:a", "read", "1,1,1", {"org:a:read"}),
        ("o:a,o:b", "read", "1", {"org:a:read"}),
        ("o:a", "read,,write", "7", {"org:a:read", "org:a:write"}),
        ("o:b:c", "read", "1", {"org:b:c:read"}),
        ("o:a,o:a", "read,write", "1,2", {"org:a:read", "org:a:write"}),
        # What is no text grants nothing.
        *((odd, "read", "1", set[str]()) for odd in NO_TEXT),
        *(("o:a", odd, "1", set[str]()) for odd in NO_TEXT),
        *(("o:a", "read", odd, set[str]()) for odd in NO_TEXT),
    ],
)
def test_permissions_of_version_2(fea: object, per: object, fpm: object, expected: set[str]) -> None:
    """Masks are read as narrowly as they can be read, and a malformed one is none."""
    claims = organized(fea=fea, per=per, fpm=fpm)
    assert claims.permissions == expected
    assert all(claims.has(permission=permission) for permission in expected)


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (["org:invoices:read", "invoices:create"], {"org:invoices:read", "org:invoices:create"}),
        (["org:org:invoices:read"], {"org:invoices:read"}),
        (["org:a:read", 5, None, ["org:b:read"], {"org:c:read": 1}, True], {"org:a:read"}),
        *((odd, set[str]()) for odd in ("org:invoices:read", {"org:invoices:read": True}, *NO_TEXT)),
        (["", "org:", "org:org:", "org:a:read"], {"org:a:read"}),
    ],
)
def test_permissions_of_version_1(listed: object, expected: set[str]) -> None:
    """A list of texts; what else is in it, or an empty one, grants nothing."""
    claims = read(org_id="org_a", org_permissions=listed)
    assert claims.permissions == expected
    assert not claims.has(permission="")
    assert not claims.has(permission="org:")


def test_no_organization_no_permissions() -> None:
    """Permissions are those in an organization: without one there are none, whatever the token lists."""
    assert read(v=2, fea="o:a", per="read", fpm="1").permissions == frozenset()
    assert read(org_permissions=["org:a:read"]).permissions == frozenset()
    assert organized(org_permissions=["org:a:read"]).permissions == frozenset()
    assert not read(v=2, org_id="org_a", org_role="admin").has(organization_role="admin")


HOLDER = organized(
    fea="o:invoices,u:themes,ou:reports,x:odd,bad",
    pla="o:pro,u:plus,bad",
    per="read,write",
    fpm="1,0,2",
    rol="admin",
    fva=[3, -1],
)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, False),
        ({"organization_role": None, "permission": None}, False),
        ({"organization_role": "admin"}, True),
        ({"organization_role": "org:admin"}, True),
        ({"organization_role": "org:org:admin"}, True),
        ({"organization_role": "Admin"}, False),
        ({"organization_role": "admin "}, False),
        ({"organization_role": "member"}, False),
        ({"organization_role": ""}, False),
        ({"permission": "org:invoices:read"}, True),
        ({"permission": "invoices:read"}, True),
        ({"permission": "org:org:invoices:read"}, True),
        ({"permission": "invoices:write"}, False),
        ({"permission": "themes:read"}, False),
        ({"permission": "org:*"}, False),
        ({"permission": ""}, False),
        ({"feature": "invoices"}, True),
        ({"feature": "themes"}, True),
        ({"feature": "reports"}, True),
        *(({"feature": f"{scope}:invoices"}, True) for scope in ("o", "org", "organization")),
        *(({"feature": f"{scope}:themes"}, True) for scope in ("u", "user")),
        *(({"feature": f"{scope}:reports"}, True) for scope in ("o", "org", "organization", "u", "user")),
        *(({"feature": f"{scope}:invoices"}, False) for scope in ("u", "user", "x", "", "O", "ou", "o:o", "org:org")),
        *(({"feature": f"{scope}:themes"}, False) for scope in ("o", "org", "organization")),
        *(({"feature": odd}, False) for odd in ("", ":", "o:", "u:", "odd", "x:odd", "bad", "invoices:", "INVOICES")),
        ({"plan": "pro"}, True),
        ({"plan": "org:pro"}, True),
        ({"plan": "user:pro"}, False),
        ({"plan": "user:plus"}, True),
        ({"plan": "bad"}, False),
        ({"reverified": "strict"}, True),
        ({"reverified": ("first_factor", 3)}, False),
        ({"organization_role": "admin", "permission": "invoices:read", "feature": "themes", "plan": "pro"}, True),
        ({"organization_role": "member", "permission": "invoices:read", "feature": "themes", "plan": "pro"}, False),
        ({"organization_role": "admin", "permission": "invoices:write", "feature": "themes", "plan": "pro"}, False),
        ({"organization_role": "admin", "permission": "invoices:read", "feature": "none", "plan": "pro"}, False),
        ({"organization_role": "admin", "permission": "invoices:read", "feature": "themes", "plan": "none"}, False),
        ({"organization_role": "admin", "reverified": ("first_factor", 1)}, False),
        *(
            ({asked: odd}, False)
            for asked in ("organization_role", "permission", "feature", "plan")
            for odd in NO_TEXT[2:]
        ),
    ],
)
def test_has(asked: dict[str, Any], expected: bool) -> None:
    """All that is asked for must be there; asking for nothing, or for what is no text, proves nothing."""
    assert HOLDER.has(**asked) is expected


def test_features_and_plans_have_their_scope() -> None:
    """What is both the organization's and the person's is listed as both; version 1 has neither."""
    assert HOLDER.features == {"o:invoices", "u:themes", "o:reports", "u:reports"}
    assert HOLDER.plans == {"o:pro", "u:plus"}
    assert read(v=2, fea="u:themes", pla="u:plus").has(feature="themes", plan="plus")
    assert read(fea="o:invoices", pla="o:pro").features == frozenset()
    assert read(fea="o:invoices", pla="o:pro").plans == frozenset()
    assert read(v=2, fea=["o:a"], pla=5).features == frozenset()


PRESETS = ("strict_mfa", "strict", "moderate", "lax")
TEN: tuple[Any, ...] = (("first_factor", 10), ("second_factor", 10), ("multi_factor", 10))


@pytest.mark.parametrize(
    ("fva", "at_ten", "presets"),
    [
        ([0, 0], (1, 1, 1), (1, 1, 1, 1)),
        ([9, 9], (1, 1, 1), (1, 1, 1, 1)),
        ([10, 10], (0, 0, 0), (0, 0, 1, 1)),
        ([10, 0], (0, 1, 0), (0, 1, 1, 1)),
        ([0, 10], (1, 0, 0), (0, 0, 1, 1)),
        ([0, -1], (1, 1, 1), (1, 1, 1, 1)),
        ([10, -1], (0, 0, 0), (0, 0, 1, 1)),
        ([-1, 0], (0, 1, 0), (0, 1, 1, 1)),
        ([-1, -1], (0, 0, 0), (0, 0, 0, 0)),
        ([59, 59], (0, 0, 0), (0, 0, 1, 1)),
        ([60, 60], (0, 0, 0), (0, 0, 0, 1)),
        ([1439, -1], (0, 0, 0), (0, 0, 0, 1)),
        ([1440, -1], (0, 0, 0), (0, 0, 0, 0)),
        *(
            (odd, (0, 0, 0), (0, 0, 0, 0))
            for odd in (
                *(None, "", "0,0", 0, True, {}, {"0": 0, "1": 0}, [], [0], [0, 0, 0], [None, 0], [0, None], ["0", "0"]),
                *([0.0, 0.0], [0.5, 0], [True, True], [False, 0], [-2, 0], [0, -2], [[0], 0]),
            )
        ),
    ],
)
def test_reverification(fva: object, at_ten: tuple[int, ...], presets: tuple[int, ...]) -> None:
    """A factor is fresh when it was shown less than so many minutes ago; what is malformed is never fresh."""
    claims = read(fva=fva)
    assert tuple(claims.has(reverified=wanted) for wanted in TEN) == at_ten
    assert tuple(claims.has(reverified=preset) for preset in PRESETS) == presets


@pytest.mark.parametrize(
    "wanted",
    [
        *("", "stricter", "STRICT", ("first", 10), ("", 10), (None, 10), ("first_factor", 0), ("first_factor", -1)),
        *((), ("first_factor",), ("first_factor", 10, 10), ("first_factor", None), ("first_factor", "10"), 10, True),
        *((["first_factor"], 10), ("first_factor", float("nan")), {"first_factor": 10}, frozenset()),
    ],
)
def test_a_reverification_that_is_none(wanted: Any) -> None:
    """What names no level and no number of minutes is not fresh, and raises nothing."""
    assert read(fva=[0, 0]).has(reverified=wanted) is False
    assert read(fva=[0, -1]).has(reverified=wanted) is False


def test_no_factors_are_told_of_an_oauth_token() -> None:
    """Only a session tells when a person last showed a factor."""
    claims = read("oauth", sub="user_a", client_id="c", fva=[0, 0])
    assert claims.factor_ages is None
    assert not claims.has(reverified="lax")
    assert read(fva=[0, -1]).factor_ages == (0, -1)
