"""Every exception of clerkmap, sorted by its cause: your code, the caller, or an outage.

    ClerkmapError
    ├── ConfigurationError            your setup: raised at construction, and for an id that has the wrong type
    │   └── WrongInstance                 the secret key belongs to another instance
    ├── LinkRefused                   your call: a link contradicts another link
    │   └── UserTaken                     the user has another identity already
    ├── UserUnknown                   your call: no user has this id
    ├── HookFailed                    your hook raised: the transaction was rolled back
    │   └── HandlerFailed                 your handler of an event raised: likewise
    ├── ApiError                      Clerk's API refused or failed
    │   ├── ApiRefused                    your call: Clerk will refuse it again
    │   │   ├── ApiKeyRefused · ApiNotFound
    │   └── ApiUnavailable                an outage: also an Unavailable
    ├── Refused                       the caller: 401, unless `core/responses.py` has another status
    │   ├── RequestRefused            the request does not carry a token correctly; the token was not read
    │   │   ├── TokenMissing · AuthorizationRefused · SchemeRefused · CookieRefused · OriginRefused
    │   ├── TokenError                the token proves nothing
    │   │   ├── TokenMalformed            it is not readable
    │   │   │   ├── TokenTooLarge
    │   │   │   ├── HeaderRefused             a header parameter that Clerk's tokens never have
    │   │   │   └── AlgorithmRefused
    │   │   ├── SignatureError            it was not signed with this instance's key
    │   │   │   ├── UnknownKey
    │   │   │   └── BadSignature
    │   │   ├── TokenUnknown              it is opaque, and Clerk does not know it
    │   │   ├── WrongKind                 it was signed with the right key, for another purpose
    │   │   │   ├── TemplateToken · MachineToken · OAuthToken · ApiKeyToken · IdToken · HandshakeToken · SessionToken
    │   │   │   └── UnknownKind
    │   │   ├── ClaimError                a claim is missing, of the wrong type or out of range
    │   │   │   └── ClaimMissing · ClaimInvalid · VersionUnknown
    │   │   ├── OutOfTime
    │   │   │   └── TokenExpired · TokenNotYetValid · TokenIssuedInFuture
    │   │   └── NotForUs                  it was made for another application
    │   │       └── IssuerRefused · PartyRefused · AudienceRefused · SessionPending · LifetimeRefused
    │   ├── LockedOut                 the token is valid, but the user has no access
    │   │   └── UserDeleted · UserBanned · SessionEnded · OrganizationDeleted · MembershipDeleted
    │   ├── NotAllowed                the user has access, but lacks a requirement
    │   │   ├── UserMissing · OrganizationMissing · RoleMissing · PermissionMissing · ScopeMissing · FeatureMissing
    │   │   └── PlanMissing · TokenOutdated · ReverificationNeeded · ImpersonationRefused
    │   ├── PrincipalRefused          a serialized principal is not valid
    │   │   └── SealBroken · SealExpired
    │   └── WebhookError              the delivery is not Clerk's, or is not readable
    │       ├── WebhookHeadersRefused · WebhookOutOfTime · WebhookTooLarge · WebhookIncomplete
    │       └── WebhookSignatureInvalid · WebhookMalformed · WebhookFromElsewhere
    └── Unavailable                   an outage: 503, retry later
        ├── KeysUnavailable
        ├── OperationUnderWay
        └── RepositoryUnavailable
            └── CommitUnknown             the commit may or may not have happened: read before you retry

Each class has a stable `code` for programs and a text for people. No text contains a token, a key or input of the
caller, so every text can be logged. Any other exception out of clerkmap is a bug.
"""

from traceback import StackSummary, walk_tb


class ClerkmapError(Exception):
    """The base class of all exceptions of clerkmap."""

    code: str = "clerkmap_error"
    text: str = "clerkmap failed"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)

    def __str__(self) -> str:
        detail = self.args[0]
        return f"{self.text}: {detail}" if detail else self.text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


def traceback_without_values(error: BaseException) -> str:
    """Describe an error and its causes for a log: types, files, lines and functions.

    Messages and source lines are left out, because they may quote personal data or a secret.
    """
    parts: list[str] = []
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        frames = StackSummary.extract(walk_tb(error.__traceback__), lookup_lines=False)
        lines = [f'  File "{each.filename}", line {each.lineno}, in {each.name}' for each in frames]
        parts.append("\n".join([*lines, f"{type(error).__qualname__} (message withheld)"]))
        following = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if following is None:
            break
        error = following
    return "\n\ncaused by\n\n".join(parts)


class ConfigurationError(ClerkmapError, ValueError):
    """A setting is wrong, or one of your constraints on the tables refuses a row. The text names the expected value."""

    code = "configuration_invalid"
    text = "invalid configuration"


class WrongInstance(ConfigurationError):
    """The secret key and the publishable key belong to different instances. Nothing was read or written."""

    code = "wrong_instance"
    text = "the secret key belongs to another instance than the publishable key"


class LinkRefused(ClerkmapError):
    """The identity is linked to another user. An identity has exactly one user."""

    code = "link_refused"
    text = "that identity is linked to another user"


class UserTaken(LinkRefused):
    """The user has another identity already.

    A second identity lets a second Clerk user in. Pass `shared=True` if both identities are the same person.
    """

    code = "user_taken"
    text = "that user has another identity already"


class UserUnknown(ClerkmapError):
    """No user has this id, or no identity is linked to the user."""

    code = "user_unknown"
    text = "no user has this id"


class HookFailed(ClerkmapError):
    """Your hook raised, and the transaction was rolled back. `__cause__` is the hook's own exception."""

    code = "hook_failed"
    text = "a hook raised, and the transaction was rolled back"


class HandlerFailed(HookFailed):
    """Your handler of an event raised, and the transaction was rolled back. `__cause__` is the handler's exception."""

    code = "handler_failed"
    text = "a handler raised, and the transaction was rolled back"


class ApiError(ClerkmapError):
    """Clerk's API refused or failed.

    The error has the status, Clerk's error codes, and the trace id for Clerk's support. It never has Clerk's message,
    which may contain personal data.
    """

    code = "api_error"
    text = "Clerk's API failed"

    def __init__(self, detail: str = "", *, status: int = 0, codes: tuple[str, ...] = (), trace_id: str = "") -> None:
        said = [detail, f"status {status}" * (status > 0), ", ".join(codes), f"trace {trace_id}" * bool(trace_id)]
        super().__init__("; ".join(part for part in said if part))
        self.status: int = status
        self.codes: tuple[str, ...] = codes
        self.trace_id: str = trace_id


class ApiRefused(ApiError):
    """Clerk's API understood the request and refused it. A retry would be refused again."""

    code = "api_refused"
    text = "Clerk's API refused the request"


class ApiKeyRefused(ApiRefused):
    """Clerk does not know the secret key."""

    code = "api_key_refused"
    text = "Clerk's API refused the secret key: compare CLERK_SECRET_KEY with the dashboard's API keys page"


class ApiNotFound(ApiRefused):
    """Clerk has no object with this id."""

    code = "api_not_found"
    text = "Clerk's API has no object with this id"


# ------------------------------------------------------------------------------------------------- the caller


class Refused(ClerkmapError):
    """The request is refused because of its content or its caller."""

    code = "refused"
    text = "the request is refused"


class RequestRefused(Refused):
    """The request does not carry a token correctly. The token itself was not read."""

    code = "request_refused"
    text = "the request does not carry a token correctly"


class TokenMissing(RequestRefused):
    """The request has no token, and needs one."""

    code = "token_missing"
    text = "the request carries no token"


class AuthorizationRefused(RequestRefused):
    """The Authorization header is not `Bearer` and one token."""

    code = "authorization_refused"
    text = "the Authorization header must be Bearer and one token"


class SchemeRefused(RequestRefused):
    """The Authorization header has another scheme, such as Basic."""

    code = "authorization_scheme_refused"
    text = "the Authorization header must have the scheme Bearer"


class CookieRefused(RequestRefused):
    """The session cookie is there twice, or is spelled as no browser spells it."""

    code = "cookie_refused"
    text = "the session cookie is refused"


class OriginRefused(RequestRefused):
    """A request with a cookie wants to write, and its page is not an allowed origin."""

    code = "origin_refused"
    text = "the page that sent the cookie is not an allowed origin"


class TokenError(Refused):
    """The token proves nothing."""

    code = "token_invalid"
    text = "the token is not valid"


class TokenMalformed(TokenError):
    """The token is not a strictly written compact JWS with JSON in it."""

    code = "token_malformed"
    text = "the token cannot be read"


class TokenTooLarge(TokenMalformed):
    """The token is longer than a cookie can be."""

    code = "token_too_large"
    text = "the token is too large"


class HeaderRefused(TokenMalformed):
    """The header has a parameter that Clerk's tokens never have, such as one that names another key."""

    code = "token_header_refused"
    text = "the token's header is refused"


class AlgorithmRefused(TokenMalformed):
    """This instance does not sign with the token's algorithm."""

    code = "token_algorithm_refused"
    text = "the token's algorithm is refused"


class SignatureError(TokenError):
    """The token was not signed with a key of this instance."""

    code = "token_signature_refused"
    text = "the token's signature is refused"


class UnknownKey(SignatureError):
    """This instance does not publish the key that the token names."""

    code = "token_key_unknown"
    text = "the token is signed with a key this instance does not have"


class BadSignature(SignatureError):
    """The signature does not match."""

    code = "token_signature_invalid"
    text = "the token's signature does not match"


class TokenUnknown(TokenError):
    """Clerk does not know the opaque token: it is forged, revoked or expired."""

    code = "token_unknown"
    text = "Clerk does not know the token"


class WrongKind(TokenError):
    """The token belongs to this instance, but its kind is not accepted here."""

    code = "token_kind_refused"
    text = "the token has a kind that is not accepted here"


class TemplateToken(WrongKind):
    """The token was made from a JWT template. It outlives its session and is no session token."""

    code = "token_is_template"
    text = "the token was made from a JWT template and is no session token"


class MachineToken(WrongKind):
    """The token is for a machine: an M2M token, or an OpenID provider's token for a client without a user."""

    code = "token_is_machine"
    text = "the token belongs to a machine and is no session token"


class OAuthToken(WrongKind):
    """The token is an OAuth access token, for a client that a user has authorized."""

    code = "token_is_oauth"
    text = "the token is an OAuth access token"


class ApiKeyToken(WrongKind):
    """The token is an API key of a user or an organization, and that kind is not accepted here."""

    code = "token_is_api_key"
    text = "the token is an API key of a kind that is not accepted here"


class IdToken(WrongKind):
    """The token is an OpenID ID token. It describes a user to a client, and is valid for a day."""

    code = "token_is_id_token"
    text = "the token is an ID token, which is no credential"


class HandshakeToken(WrongKind):
    """The token is a handshake token. It carries cookies, and no user."""

    code = "token_is_handshake"
    text = "the token is a handshake, which is no credential"


class SessionToken(WrongKind):
    """The token is a session token, and only other kinds are accepted here."""

    code = "token_is_session"
    text = "the token is a session token, which is not accepted here"


class UnknownKind(WrongKind):
    """The token has a `typ` or `cat` that clerkmap does not know."""

    code = "token_kind_unknown"
    text = "the token has a kind that clerkmap does not know"


class ClaimError(TokenError):
    """A claim that is needed is missing or invalid."""

    code = "token_claims_refused"
    text = "the token's claims are refused"


class ClaimMissing(ClaimError):
    """A claim that every token of this kind has is missing."""

    code = "token_claim_missing"
    text = "the token lacks a claim"


class ClaimInvalid(ClaimError):
    """A claim has the wrong type or is out of range."""

    code = "token_claim_invalid"
    text = "the token has an invalid claim"


class VersionUnknown(ClaimError):
    """The session token has a version that clerkmap does not know."""

    code = "token_version_unknown"
    text = "the token has a version that clerkmap does not know"


class OutOfTime(TokenError):
    """The token is not valid at this moment."""

    code = "token_out_of_time"
    text = "the token is not valid now"


class TokenExpired(OutOfTime):
    """The token has expired."""

    code = "token_expired"
    text = "the token has expired"


class TokenNotYetValid(OutOfTime):
    """The token becomes valid later. One of the two clocks is wrong."""

    code = "token_not_yet_valid"
    text = "the token is not valid yet; compare the clocks"


class TokenIssuedInFuture(OutOfTime):
    """The token was issued later than now. One of the two clocks is wrong."""

    code = "token_issued_in_future"
    text = "the token was issued in the future; compare the clocks"


class NotForUs(TokenError):
    """The token is valid, but was made for another application or for later."""

    code = "token_not_for_us"
    text = "the token was made for another application"


class IssuerRefused(NotForUs):
    """The token has another issuer than this instance."""

    code = "token_issuer_refused"
    text = "the token was issued by another instance"


class PartyRefused(NotForUs):
    """The token was made for a front end that is not an authorized party."""

    code = "token_party_refused"
    text = "the token was made for a front end that is not an authorized party"


class AudienceRefused(NotForUs):
    """The token has another audience, or it has one and the instance has none."""

    code = "token_audience_refused"
    text = "the token was made for another audience"


class SessionPending(NotForUs):
    """The user has signed in, but has not finished a task that Clerk requires."""

    code = "session_pending"
    text = "the session is pending: the user must finish a task first"


class LifetimeRefused(NotForUs):
    """The token is valid for longer than clerkmap remembers ended sessions and deletions."""

    code = "token_lifetime_refused"
    text = "the token is valid for too long: clerkmap would forget a revocation before it expires"


class LockedOut(Refused):
    """The token is valid, but the user has no access."""

    code = "locked_out"
    text = "the user has no access"


class UserDeleted(LockedOut):
    """The user has been deleted."""

    code = "user_deleted"
    text = "the user has been deleted"


class UserBanned(LockedOut):
    """The user has been banned."""

    code = "user_banned"
    text = "the user has been banned"


class SessionEnded(LockedOut):
    """The token's session was revoked, ended or removed."""

    code = "session_ended"
    text = "the session is over"


class OrganizationDeleted(LockedOut):
    """The token's organization has been deleted."""

    code = "organization_deleted"
    text = "the organization has been deleted"


class MembershipDeleted(LockedOut):
    """The user is no longer a member of the token's organization."""

    code = "membership_deleted"
    text = "the user is no longer a member of the organization"


class NotAllowed(Refused):
    """The user has access, but lacks a requirement of this request."""

    code = "not_allowed"
    text = "the user may not do this"


class UserMissing(NotAllowed):
    """The caller is an organization with its own API key, and this needs a user."""

    code = "user_missing"
    text = "this needs a user, and the caller is an organization"


class OrganizationMissing(NotAllowed):
    """The token has no active organization, and this needs one."""

    code = "organization_missing"
    text = "the user must choose an organization first"


class RoleMissing(NotAllowed):
    """The user does not have the required role."""

    code = "role_missing"
    text = "the user does not have the required role"


class PermissionMissing(NotAllowed):
    """The user does not have the required permission in the active organization."""

    code = "permission_missing"
    text = "the user does not have the required permission"


class ScopeMissing(NotAllowed):
    """The token does not have the required scope. Session tokens have none."""

    code = "scope_missing"
    text = "the token does not have the required scope"


class FeatureMissing(NotAllowed):
    """Neither the organization nor the user has the required feature."""

    code = "feature_missing"
    text = "neither the organization nor the user has the required feature"


class PlanMissing(NotAllowed):
    """Neither the organization nor the user is on the required plan."""

    code = "plan_missing"
    text = "neither the organization nor the user is on the required plan"


class ImpersonationRefused(NotAllowed):
    """An actor impersonates the user, and this needs the user."""

    code = "impersonation_refused"
    text = "this needs the user, and an actor impersonates the user"


class TokenOutdated(NotAllowed):
    """The user's role has changed since the token was made, so its permissions may be out of date."""

    code = "token_outdated"
    text = "the user's role has changed since the token was made"


class ReverificationNeeded(NotAllowed):
    """The user must verify again: `wanted` is one of Clerk's presets, or a level and its minutes."""

    code = "reverification_needed"
    text = "the user must verify again"

    def __init__(self, wanted: str | tuple[str, int] = "strict") -> None:
        super().__init__()
        self.wanted: str | tuple[str, int] = wanted


class PrincipalRefused(Refused):
    """A principal from a job queue or another process is not valid."""

    code = "principal_refused"
    text = "the principal is not valid"


class SealBroken(PrincipalRefused):
    """None of the secrets made this signature over this text."""

    code = "seal_broken"
    text = "the principal has an invalid signature"


class SealExpired(PrincipalRefused):
    """The sealed principal has expired."""

    code = "seal_expired"
    text = "the sealed principal has expired"


class WebhookError(Refused):
    """The delivery is not Clerk's, or is not readable. A retry would not help."""

    code = "webhook_refused"
    text = "the webhook is refused"


class WebhookHeadersRefused(WebhookError):
    """The signature headers are incomplete, repeated or malformed."""

    code = "webhook_headers_refused"
    text = "the webhook's headers are refused"


class WebhookOutOfTime(WebhookError):
    """The delivery's timestamp is too old or in the future: it is a replay, or a clock is wrong."""

    code = "webhook_out_of_time"
    text = "the webhook is too old, or from the future"


class WebhookTooLarge(WebhookError):
    """The body is larger than Clerk's bodies are."""

    code = "webhook_too_large"
    text = "the webhook is too large"


class WebhookIncomplete(WebhookError):
    """The body did not arrive completely and in time."""

    code = "webhook_incomplete"
    text = "the webhook did not arrive completely and in time"


class WebhookSignatureInvalid(WebhookError):
    """None of your webhook secrets made a signature over this body."""

    code = "webhook_signature_invalid"
    text = "the webhook's signature does not match"


class WebhookMalformed(WebhookError):
    """The body is not an event."""

    code = "webhook_malformed"
    text = "the webhook cannot be read"


class WebhookFromElsewhere(WebhookError):
    """The event belongs to another instance."""

    code = "webhook_from_elsewhere"
    text = "the webhook belongs to another instance"


# ---------------------------------------------------------------------------------------------------- outages


class Unavailable(ClerkmapError):
    """A dependency of clerkmap is down. The caller did nothing wrong: retry later."""

    is_logged: bool = False  # the log has the cause already: once for all requests that wait for it
    code = "unavailable"
    text = "a dependency of clerkmap is not available"


class KeysUnavailable(Unavailable):
    """The signing keys cannot be fetched."""

    code = "keys_unavailable"
    text = "the signing keys are not available"


class OperationUnderWay(Unavailable):
    """Another attempt with the same idempotency key is running, or was running a moment ago.

    `organization_id` is the Clerk id of an organization that this attempt created before another attempt took over. The
    other attempt may create a second organization.
    """

    code = "operation_under_way"
    text = "an attempt with the same idempotency key is running: retry in a moment"

    def __init__(self, detail: str = "", *, organization_id: str | None = None) -> None:
        super().__init__(detail)
        self.organization_id: str | None = organization_id


class RepositoryUnavailable(Unavailable):
    """The database did not answer. Nothing was written, unless the error is a `CommitUnknown`."""

    code = "repository_unavailable"
    text = "the repository is not available"


class CommitUnknown(RepositoryUnavailable):
    """The connection was lost during the commit: everything was written, or nothing.

    Read before you retry, because another writer may have acted on the write.
    """

    code = "commit_unknown"
    text = "the connection was lost during the commit, which may or may not have happened: read before you retry"


class ApiUnavailable(ApiError, Unavailable):
    """Clerk's API did not answer in time, after all retries.

    A creation may have happened: look for the object before you retry.
    """

    code = "api_unavailable"
    text = "Clerk's API is not available"
