"""The part of the table that is about what people have: organizations, roles, grants, and proofs that it is them."""

from collections.abc import Iterator

from requests_answers import (
    BOTH_FACTORS,
    FEATURE,
    IMPERSONATED,
    LATELY,
    NO_ORGANIZATION,
    OUTDATED,
    PERMISSION,
    PLAN,
    REMOVED,
    ROLE,
    SCOPE,
    STRICT,
    Want,
    Who,
)
from requests_row import ADA, BOB, IS_ADA, Headers, Row, bearer, cookie, session
from requests_world import ACME, token

AT_ACME = Who("ada", "acme", "org:admin")
MEMBER = Who("bob", "acme", "org:member")


def rights() -> Iterator[Row]:
    """The rows of this file."""
    yield from _organizations()
    yield from _grants()
    yield from _in_person()
    yield from _everything()


def _organizations() -> Iterator[Row]:
    admin, member, none = token("ada", ACME, role="org:admin"), token("bob", ACME), token("ada")
    for page in ("/organization", "/role", "/permission"):
        yield Row(f"no organization: {page}", f"/clerk{page}", bearer(none), NO_ORGANIZATION)
        yield Row(f"no organization, in a cookie: {page}", f"/clerk{page}", cookie(session(none)), NO_ORGANIZATION)
    yield Row("organization: active", "/clerk/organization", bearer(member), MEMBER)
    yield Row("role: held", "/clerk/role", bearer(admin), AT_ACME)
    yield Row("role: another", "/clerk/role", bearer(member), ROLE)
    yield Row(
        "role: in the token, not in the repository",
        "/clerk/role",
        bearer(token("bob", ACME, role="org:admin")),
        ROLE,
    )
    yield Row(
        "role: the repository says so", "/clerk/role", bearer(token("zoe", ACME)), Who("zoe", "acme", "org:admin")
    )
    yield Row("user role: held", "/clerk/user-role", bearer(none), IS_ADA)
    yield Row("user role: none", "/clerk/user-role", bearer(BOB), ROLE)
    yield Row("user role, any of two: held", "/clerk/user-roles", bearer(none), IS_ADA)
    yield Row("user role, any of two: none", "/clerk/user-roles", bearer(BOB), ROLE)
    yield Row("role, any of two: held", "/clerk/roles", bearer(admin), AT_ACME)
    yield Row("role, any of two: another", "/clerk/roles", bearer(member), ROLE)
    yield Row("role, any of two: no organization", "/clerk/roles", bearer(none), NO_ORGANIZATION)
    yield Row("user role: only in an organization", "/clerk/user-role", bearer(token("zoe", ACME)), ROLE)
    for who, want in (("ada", IS_ADA), ("bob", ROLE)):
        trusted = bearer(token(who, claims={"own_id": who}))
        yield Row(f"trusted id: {who} is let in", "/trusting/signed-in", trusted, Who(who))
        yield Row(f"trusted id: the role of {who} is looked up", "/trusting/user-role", trusted, want)
    yield Row("fresh membership: a member", "/clerk/fresh", bearer(admin), AT_ACME)
    yield Row("fresh membership: without an organization", "/clerk/fresh", bearer(none), IS_ADA)
    yield Row("fresh membership: removed", "/clerk/fresh", bearer(token("rex", ACME)), REMOVED)


def _grants() -> Iterator[Row]:
    def at_acme(who: str, **more: object) -> Headers:
        return bearer(token(who, ACME, **more))

    create, read = ["org:invoices:create"], ["org:invoices:read"]
    yield Row("permission: held", "/clerk/permission", at_acme("bob", permissions=create), MEMBER)
    yield Row("permission: version 1", "/clerk/permission", at_acme("bob", permissions=create, version=1), MEMBER)
    yield Row("permission: another", "/clerk/permission", at_acme("bob", permissions=read), PERMISSION)
    yield Row(
        "permission: an administrator without it", "/clerk/permission", at_acme("ada", role="org:admin"), PERMISSION
    )
    changed = at_acme("mia", role="org:admin", permissions=create)
    yield Row("permission: the role has changed since", "/clerk/permission", changed, OUTDATED)
    yield Row("feature: the organization's", "/clerk/feature", at_acme("bob", features=["o:invoices"]), MEMBER)
    yield Row("feature: the person's", "/clerk/feature", bearer(token("ada", features=["u:invoices"])), IS_ADA)
    yield Row("feature: another", "/clerk/feature", at_acme("bob", features=["o:themes"]), FEATURE)
    yield Row("feature: none", "/clerk/feature", bearer(ADA), FEATURE)
    yield Row(
        "feature, one's own: the person's", "/clerk/own-feature", bearer(token("ada", features=["u:themes"])), IS_ADA
    )
    yield Row(
        "feature, one's own: the organization's", "/clerk/own-feature", at_acme("bob", features=["o:themes"]), FEATURE
    )
    yield Row("plan: the organization's", "/clerk/plan", at_acme("bob", plan="o:pro"), MEMBER)
    yield Row("plan: the person's", "/clerk/plan", at_acme("bob", plan="u:pro"), PLAN)
    yield Row("permission, any of two: held", "/clerk/permissions", at_acme("bob", permissions=create), MEMBER)
    yield Row("permission, any of two: another", "/clerk/permissions", at_acme("bob", permissions=read), PERMISSION)
    yield Row("feature, any of two: held", "/clerk/features", bearer(token("ada", features=["u:themes"])), IS_ADA)
    yield Row("feature, any of two: another", "/clerk/features", at_acme("bob", features=["o:themes"]), FEATURE)
    yield Row("plan, any of two: held", "/clerk/plans", at_acme("bob", plan="o:pro"), MEMBER)
    yield Row("plan, any of two: another", "/clerk/plans", at_acme("bob", plan="u:pro"), PLAN)
    yield Row("scope: a session token has none", "/clerk/scope", bearer(ADA), SCOPE)
    yield Row(
        "scope: a scope claim in a session token",
        "/clerk/scope",
        bearer(token("ada", claims={"scope": "notes:read"})),
        SCOPE,
    )
    yield Row("plan: none", "/clerk/plan", bearer(ADA), PLAN)


def _in_person() -> Iterator[Row]:
    support = "user_support"
    acted = token("ada", actor=support)
    yield Row("impersonated: the actor is visible", "/clerk/signed-in", bearer(acted), Who("ada", actor=support))
    yield Row("impersonated: optional sign-in", "/clerk/open", cookie(session(acted)), Who("ada", actor=support))
    yield Row("impersonated: refused by not_impersonated", "/clerk/in-person", bearer(acted), IMPERSONATED)
    yield Row("impersonated: not", "/clerk/in-person", bearer(ADA), IS_ADA)
    ages: dict[str, tuple[tuple[int, int], Want, Want]] = {  # of the factors; strict; the first within 5 minutes
        "just now": ((0, 0), IS_ADA, IS_ADA),
        "the second just now": ((60, 0), IS_ADA, LATELY),
        "the first just now": ((0, 60), STRICT, IS_ADA),
        "nine minutes ago": ((9, 9), IS_ADA, LATELY),
        "ten minutes ago": ((10, 10), STRICT, LATELY),
        "no second factor": ((4, -1), IS_ADA, IS_ADA),
        "never": ((-1, -1), STRICT, LATELY),
    }
    for name, (factor_ages, strict, lately) in ages.items():
        sent = bearer(token("ada", factor_ages=factor_ages))
        yield Row(f"reverified, strict: {name}", "/clerk/reverified", sent, strict)
        yield Row(f"reverified, first factor, 5 minutes: {name}", "/clerk/reverified-lately", sent, lately)
    yield Row(
        "reverified: the token does not say", "/clerk/reverified", bearer(token("ada", claims={"fva": None})), STRICT
    )


def _everything() -> Iterator[Row]:
    has = {"role": "org:admin", "permissions": ["org:invoices:create"], "plan": "o:pro", "factor_ages": (1, 1)}

    def ada(**other: object) -> Headers:
        return bearer(token("ada", ACME, **(has | other)))

    page = "/clerk/everything"
    yield Row("everything: all held", page, ada(), AT_ACME)
    yield Row("everything: organization", page, bearer(token("ada", plan="u:pro")), NO_ORGANIZATION)
    yield Row("everything: role", page, bearer(token("bob", ACME, **has)), ROLE)
    yield Row("everything: user role", page, bearer(token("zoe", ACME, **has)), ROLE)
    yield Row("everything: permission", page, ada(permissions=["org:invoices:read"]), PERMISSION)
    yield Row("everything: plan", page, ada(plan="o:free"), PLAN)
    yield Row("everything: impersonated", page, ada(actor="user_support"), IMPERSONATED)
    yield Row("everything: reverified", page, ada(factor_ages=(1, 60)), BOTH_FACTORS)
