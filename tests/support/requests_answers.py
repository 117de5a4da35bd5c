"""What can be answered to a request, written by hand: nothing here is computed by clerkmap."""

import json
from typing import Any, NamedTuple


class Expected(NamedTuple):
    """A response, as far as every adapter has to agree on it. A body of None is the framework's own."""

    status: int
    headers: dict[str, str]
    body: bytes | None


JSON = {"content-type": "application/json"}


class Refusal(NamedTuple):
    """No. The challenge is the `error` of RFC 6750; an empty one stands alone, and None is no challenge at all."""

    status: int
    code: str
    message: str
    challenge: str | None = None
    remedy: str | None = None
    wanted: Any = None

    def expected(self) -> Expected:
        """The whole of it."""
        headers = JSON | {"cache-control": "no-store"}
        if self.challenge is not None:
            why = f' error="{self.challenge}", error_description="{self.message}"' if self.challenge else ""
            headers["www-authenticate"] = f"Bearer{why}"
        if self.status == 503:
            headers["retry-after"] = "10"
        content: dict[str, Any] = {"code": self.code, "remedy": self.remedy, "message": self.message}
        if self.wanted is not None:
            rule = {"reverification": self.wanted}
            content["clerk_error"] = {"type": "forbidden", "reason": "reverification-error", "metadata": rule}
        return Expected(self.status, headers, json.dumps(content).encode())


class Who(NamedTuple):
    """Yes, and this is who is calling, in your own ids."""

    user: str | None
    organization: str | None = None
    role: str | None = None
    actor: str | None = None

    def expected(self) -> Expected:
        """The whole of it."""
        return Expected(200, JSON, json.dumps(self._asdict()).encode())


class Sent(NamedTuple):
    """A browser is sent to another page."""

    to: str

    def expected(self) -> Expected:
        """The whole of it."""
        return Expected(303, {"location": self.to, "cache-control": "no-store"}, b"")


class Plain(NamedTuple):
    """The framework's or the server's own answer, of which only the status is told."""

    status: int

    def expected(self) -> Expected:
        """The whole of it."""
        return Expected(self.status, {}, None)


class Hello(NamedTuple):
    """A public page: it does not authenticate."""

    def expected(self) -> Expected:
        """The whole of it."""
        return Expected(200, JSON, b'{"hello": "world"}')


Want = Refusal | Who | Sent | Plain | Hello
ANONYMOUS = Who(None)
BROKEN = Plain(500)  # our own fault, or the application's: never the page itself

# ------------------------------------------------------------------------------------------ the request as it came

MISSING = Refusal(401, "token_missing", "the request carries no token", "", "sign_in")
AUTHORIZATION = Refusal(
    400,
    "authorization_refused",
    "the Authorization header must be Bearer and one token",
    "invalid_request",
)
SCHEME = Refusal(
    401,
    "authorization_scheme_refused",
    "the Authorization header must have the scheme Bearer",
    "",
)
COOKIE = Refusal(400, "cookie_refused", "the session cookie is refused", "invalid_request")
ORIGIN = Refusal(403, "origin_refused", "the page that sent the cookie is not an allowed origin")

# ------------------------------------------------------------------------------------------------------- the token


def _bad(code: str, message: str, remedy: str | None = None) -> Refusal:
    return Refusal(401, code, message, "invalid_token", remedy)


MALFORMED = _bad("token_malformed", "the token cannot be read", "sign_in")
TOO_LARGE = _bad("token_too_large", "the token is too large")
HEADER = _bad("token_header_refused", "the token's header is refused", "sign_in")
ALGORITHM = _bad("token_algorithm_refused", "the token's algorithm is refused", "sign_in")
UNKNOWN_KEY = _bad("token_key_unknown", "the token is signed with a key this instance does not have", "refresh_token")
SIGNATURE = _bad("token_signature_invalid", "the token's signature does not match", "refresh_token")
KIND = _bad("token_kind_refused", "the token has a kind that is not accepted here")
TEMPLATE = _bad("token_is_template", "the token was made from a JWT template and is no session token")
MACHINE = _bad("token_is_machine", "the token belongs to a machine and is no session token")
CLIENT = _bad("token_is_oauth", "the token is an OAuth access token")
ID_TOKEN = _bad("token_is_id_token", "the token is an ID token, which is no credential")
HANDSHAKE = _bad("token_is_handshake", "the token is a handshake, which is no credential")
UNKNOWN_KIND = _bad("token_kind_unknown", "the token has a kind that clerkmap does not know")
CLAIM_MISSING = _bad("token_claim_missing", "the token lacks a claim")
CLAIM_INVALID = _bad("token_claim_invalid", "the token has an invalid claim")
VERSION = _bad("token_version_unknown", "the token has a version that clerkmap does not know")
EXPIRED = _bad("token_expired", "the token has expired", "refresh_token")
NOT_YET = _bad("token_not_yet_valid", "the token is not valid yet; compare the clocks", "refresh_token")
FUTURE = _bad("token_issued_in_future", "the token was issued in the future; compare the clocks", "refresh_token")
ISSUER = _bad("token_issuer_refused", "the token was issued by another instance")
PARTY = _bad("token_party_refused", "the token was made for a front end that is not an authorized party")
AUDIENCE = _bad("token_audience_refused", "the token was made for another audience")
PENDING = _bad(
    "session_pending",
    "the session is pending: the user must finish a task first",
    "sign_in",
)

# ------------------------------------------------------------------------------------------------------ the person

DELETED = Refusal(403, "user_deleted", "the user has been deleted")
BANNED = Refusal(403, "user_banned", "the user has been banned")
OVER = Refusal(403, "session_ended", "the session is over", None, "sign_in")
ORGANIZATION_DELETED = Refusal(
    403, "organization_deleted", "the organization has been deleted", None, "pick_organization"
)
REMOVED = Refusal(
    403, "membership_deleted", "the user is no longer a member of the organization", None, "pick_organization"
)
NO_ORGANIZATION = _bad("organization_missing", "the user must choose an organization first", "pick_organization")
OUTDATED = _bad("token_outdated", "the user's role has changed since the token was made", "refresh_token")


def _not_allowed(code: str, message: str) -> Refusal:
    return Refusal(403, code, message, "insufficient_scope")


ROLE = _not_allowed("role_missing", "the user does not have the required role")
SCOPE = _not_allowed("scope_missing", "the token does not have the required scope")
PERMISSION = _not_allowed("permission_missing", "the user does not have the required permission")
FEATURE = _not_allowed("feature_missing", "neither the organization nor the user has the required feature")
PLAN = _not_allowed("plan_missing", "neither the organization nor the user is on the required plan")
API_DOWN = Refusal(503, "api_unavailable", "Clerk's API is not available", None, "ask_again")
USER_MISSING = _not_allowed("user_missing", "this needs a user, and the caller is an organization")
API_KEY = _bad("token_is_api_key", "the token is an API key of a kind that is not accepted here")
UNKNOWN = _bad("token_unknown", "Clerk does not know the token")
IMPERSONATED = _not_allowed("impersonation_refused", "this needs the user, and an actor impersonates the user")
_ANEW = _not_allowed("reverification_needed", "the user must verify again")._replace(remedy="reverify")
STRICT = _ANEW._replace(wanted="strict")
LATELY = _ANEW._replace(wanted={"level": "first_factor", "afterMinutes": 5})
BOTH_FACTORS = _ANEW._replace(wanted={"level": "multi_factor", "afterMinutes": 10})

# ------------------------------------------------------------------------------------------------------- the world

KEYS_DOWN = Refusal(503, "keys_unavailable", "the signing keys are not available", None, "ask_again")
DATABASE_DOWN = Refusal(503, "repository_unavailable", "the repository is not available", None, "ask_again")
