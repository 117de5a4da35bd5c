"""Everything clerkmap raises, sorted by whose fault it is, then by what happened.

    ClerkmapError
    ├── ConfigurationError            yours: raised while you construct things, and where an id you made cannot be one
    │   └── WrongInstance                 and before the first use of a secret key that is another instance's
    ├── LinkRefused                   yours: a link that would contradict another
    │   ├── UserTaken                     the user has another identity already
    ├── UserUnknown                   yours: there is no user of that id
    ├── HookFailed                    yours: a hook raised, and nothing was written
    ├── ApiError                      Clerk's API did not do what it was asked
    │   ├── ApiRefused                    yours: it will not
    │   │   ├── ApiKeyRefused · ApiNotFound
    │   └── ApiUnavailable                the world's: it could not, and is an Unavailable
    ├── Refused                       the caller's: answer 401 (where it is another, `core/responses.py` says so)
    │   ├── RequestRefused            the request does not carry a token as it should; it is not even looked at
    │   │   ├── TokenMissing · AuthorizationRefused · SchemeRefused · CookieRefused · OriginRefused
    │   ├── TokenError                the token proves nothing
    │   │   ├── TokenMalformed            it cannot be read
    │   │   │   ├── TokenTooLarge
    │   │   │   ├── HeaderRefused             a header parameter that no token of ours carries
    │   │   │   └── AlgorithmRefused
    │   │   ├── SignatureError            it was not signed with this instance's key
    │   │   │   ├── UnknownKey
    │   │   │   └── BadSignature
    │   │   ├── TokenUnknown              it is opaque, and Clerk does not know it
    │   │   ├── WrongKind                 signed with the right key, but not meant to sign anybody in
    │   │   │   ├── TemplateToken · MachineToken · OAuthToken · ApiKeyToken · IdToken · HandshakeToken · SessionToken
    │   │   │   ├── UnknownKind
    │   │   ├── ClaimError                a claim is missing, of the wrong type or out of range
    │   │   │   ├── ClaimMissing · ClaimInvalid · VersionUnknown
    │   │   ├── OutOfTime
    │   │   │   ├── TokenExpired · TokenNotYetValid · TokenIssuedInFuture
    │   │   └── NotForUs                  made for somebody else
    │   │       ├── IssuerRefused · PartyRefused · AudienceRefused · SessionPending · LifetimeRefused
    │   ├── LockedOut                 the token is good, and the person may not come in
    │   │   ├── UserDeleted · UserBanned · SessionEnded · OrganizationDeleted · MembershipDeleted
    │   ├── NotAllowed                the person may come in, and may not do this
    │   │   ├── UserMissing · OrganizationMissing · RoleMissing · PermissionMissing · FeatureMissing · PlanMissing
    │   │   ├── TokenOutdated · ReverificationNeeded · ImpersonationRefused
    │   ├── PrincipalRefused          what was handed on is no principal
    │   │   ├── SealBroken · SealExpired
    │   └── WebhookError              the delivery is not Clerk's, or cannot be read
    │       ├── WebhookHeadersRefused · WebhookOutOfTime · WebhookTooLarge · WebhookIncomplete
    │       ├── WebhookSignatureInvalid · WebhookMalformed · WebhookFromElsewhere
    └── Unavailable                   the world's: answer 503 and ask again
        ├── KeysUnavailable
        ├── OperationUnderWay
        └── RepositoryUnavailable
            └── CommitUnknown             it may or may not have been written: read, then decide

Every class that is raised has a stable `code` for programs, and a text for people. No text ever holds a token, a key or
a word the caller sent: a log may print any of these. What is not in this tree and comes out of clerkmap is a bug.
"""

from traceback import StackSummary, walk_tb


class ClerkmapError(Exception):
    """The one base to catch."""

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
    """Something you configured cannot work, a constraint of yours on the tables included. The text says what was
    expected."""

    code = "configuration_invalid"
    text = "wrong configuration"


class WrongInstance(ConfigurationError):
    """The secret key belongs to another instance than the publishable key. Nothing was read or written."""

    code = "wrong_instance"
    text = "the secret key belongs to another instance than the publishable key"


class LinkRefused(ClerkmapError):
    """An identity leads to exactly one user, and this one leads to another."""

    code = "link_refused"
    text = "that identity is linked to another user"


class UserTaken(LinkRefused):
    """The user has an identity already. Another one would let a second person in, unless both are one person: say
    `shared=True` then."""

    code = "user_taken"
    text = "that user has another identity already"


class UserUnknown(ClerkmapError):
    """There is no user of yours with that id, or none whom an identity leads to."""

    code = "user_unknown"
    text = "there is no user of that id"


class HookFailed(ClerkmapError):
    """A hook of yours raised, so everything was undone. Its own error is the `__cause__` of this one."""

    code = "hook_failed"
    text = "a hook raised, and nothing was written"


class ApiError(ClerkmapError):
    """What Clerk's API said when it did not do what it was asked: its status, its codes, and the id of the trace that
    Clerk's support asks for. Never its message, which may name a person."""

    code = "api_error"
    text = "Clerk's API did not do what it was asked"

    def __init__(self, detail: str = "", *, status: int = 0, codes: tuple[str, ...] = (), trace_id: str = "") -> None:
        said = [detail, f"status {status}" * (status > 0), ", ".join(codes), f"trace {trace_id}" * bool(trace_id)]
        super().__init__("; ".join(part for part in said if part))
        self.status: int = status
        self.codes: tuple[str, ...] = codes
        self.trace_id: str = trace_id


class ApiRefused(ApiError):
    """Clerk's API understood the request and will not do it. Sent again it would be refused again."""

    code = "api_refused"
    text = "Clerk's API refused the request"


class ApiKeyRefused(ApiRefused):
    """The secret key is not one that Clerk knows."""

    code = "api_key_refused"
    text = "Clerk's API refused the secret key: compare CLERK_SECRET_KEY with the dashboard's API keys page"


class ApiNotFound(ApiRefused):
    """What was asked for is not there, or no longer."""

    code = "api_not_found"
    text = "Clerk's API knows nothing of that id"


# ------------------------------------------------------------------------------------------- the caller's fault


class Refused(ClerkmapError):
    """The request is refused because of what the caller sent, or who the caller is."""

    code = "refused"
    text = "the request is refused"


class RequestRefused(Refused):
    """The request does not carry a token in the one way that is read. What the token says was not looked at."""

    code = "request_refused"
    text = "the request does not carry a token as it should"


class TokenMissing(RequestRefused):
    """There is no token on the request, and there must be one."""

    code = "token_missing"
    text = "the request carries no token"


class AuthorizationRefused(RequestRefused):
    """The Authorization header is there, and is not `Bearer` and one token."""

    code = "authorization_refused"
    text = "the Authorization header is not Bearer and one token"


class SchemeRefused(RequestRefused):
    """The Authorization header is of another scheme, such as Basic."""

    code = "authorization_scheme_refused"
    text = "the Authorization header is of another scheme than Bearer"


class CookieRefused(RequestRefused):
    """The session cookie stands there twice, or in a way that no browser of ours writes."""

    code = "cookie_refused"
    text = "the session cookie is refused"


class OriginRefused(RequestRefused):
    """A cookie asks for more than to read, and the page that had it sent may not do that."""

    code = "origin_refused"
    text = "the cookie was sent from a page that may not act for its owner"


class TokenError(Refused):
    """The token proves nothing."""

    code = "token_invalid"
    text = "the token is not valid"


class TokenMalformed(TokenError):
    """The token is not a strictly written compact JWS with JSON in it."""

    code = "token_malformed"
    text = "the token cannot be read"


class TokenTooLarge(TokenMalformed):
    """The token is longer than any cookie could carry."""

    code = "token_too_large"
    text = "the token is too large"


class HeaderRefused(TokenMalformed):
    """The header asks for something we never do: fetch a key, unpack, skip a check."""

    code = "token_header_refused"
    text = "the token's header is refused"


class AlgorithmRefused(TokenMalformed):
    """The algorithm is not one this instance signs with."""

    code = "token_algorithm_refused"
    text = "the token's algorithm is refused"


class SignatureError(TokenError):
    """The token was not signed with a key of this instance."""

    code = "token_signature_refused"
    text = "the token's signature is refused"


class UnknownKey(SignatureError):
    """The token names a key that this instance does not publish."""

    code = "token_key_unknown"
    text = "the token is signed with a key this instance does not have"


class BadSignature(SignatureError):
    """The signature does not match."""

    code = "token_signature_invalid"
    text = "the token's signature does not match"


class TokenUnknown(TokenError):
    """An opaque token that Clerk does not know: made up, revoked, or expired."""

    code = "token_unknown"
    text = "the token is not one that Clerk knows, or not any more"


class WrongKind(TokenError):
    """A real token of this instance, made for another purpose than the ones accepted here."""

    code = "token_kind_refused"
    text = "the token is of another kind than those accepted here"


class TemplateToken(WrongKind):
    """Made from a JWT template: outlives its session, and cannot sign anybody in."""

    code = "token_is_template"
    text = "the token was made from a JWT template and is no session token"


class MachineToken(WrongKind):
    """It stands for a machine: an M2M token, or an OpenID provider's token for a client that no user is behind."""

    code = "token_is_machine"
    text = "the token stands for a machine and is no session token"


class OAuthToken(WrongKind):
    """An OAuth access token: it stands for a client that a person let in."""

    code = "token_is_oauth"
    text = "the token is an OAuth access token"


class ApiKeyToken(WrongKind):
    """An API key: a person's or an organization's, whichever is not accepted."""

    code = "token_is_api_key"
    text = "the token is an API key of a kind that is not accepted here"


class IdToken(WrongKind):
    """An OpenID ID token: it tells a client who somebody is, and lives for a day."""

    code = "token_is_id_token"
    text = "the token is an ID token, which is no credential"


class HandshakeToken(WrongKind):
    """A handshake: it carries cookies, not a person."""

    code = "token_is_handshake"
    text = "the token is a handshake, which is no credential"


class SessionToken(WrongKind):
    """A session token where only other kinds are accepted."""

    code = "token_is_session"
    text = "the token is a session token, which is not accepted here"


class UnknownKind(WrongKind):
    """The token carries a category we have never heard of."""

    code = "token_kind_unknown"
    text = "the token is of a kind clerkmap does not know"


class ClaimError(TokenError):
    """A claim that decides something is not there, or cannot be true."""

    code = "token_claims_refused"
    text = "the token's claims are refused"


class ClaimMissing(ClaimError):
    """A claim that every such token has is not there."""

    code = "token_claim_missing"
    text = "the token lacks a claim"


class ClaimInvalid(ClaimError):
    """A claim is of the wrong type or out of range."""

    code = "token_claim_invalid"
    text = "the token has a claim that cannot be true"


class VersionUnknown(ClaimError):
    """The session token is of a version whose meaning we do not know."""

    code = "token_version_unknown"
    text = "the token is of a version clerkmap does not know"


class OutOfTime(TokenError):
    """The token is not valid at this moment."""

    code = "token_out_of_time"
    text = "the token is not valid now"


class TokenExpired(OutOfTime):
    """It was valid once."""

    code = "token_expired"
    text = "the token has expired"


class TokenNotYetValid(OutOfTime):
    """It will be valid later: one of the two clocks is wrong."""

    code = "token_not_yet_valid"
    text = "the token is not valid yet; compare the clocks"


class TokenIssuedInFuture(OutOfTime):
    """It says it was made later than now: one of the two clocks is wrong."""

    code = "token_issued_in_future"
    text = "the token was issued in the future; compare the clocks"


class NotForUs(TokenError):
    """The token is real and was made for somebody else, or for later."""

    code = "token_not_for_us"
    text = "the token was made for somebody else"


class IssuerRefused(NotForUs):
    """The issuer is not this instance."""

    code = "token_issuer_refused"
    text = "the token was issued by another instance"


class PartyRefused(NotForUs):
    """The token was made for a front end that is not on the list of authorized parties."""

    code = "token_party_refused"
    text = "the token was made for a front end that is not an authorized party"


class AudienceRefused(NotForUs):
    """The token's audience is not ours, or it has one and none is configured."""

    code = "token_audience_refused"
    text = "the token was made for another audience"


class SessionPending(NotForUs):
    """The person has signed in and has not finished what Clerk asks of them."""

    code = "session_pending"
    text = "the session is pending: the person has something left to do before it counts"


class LifetimeRefused(NotForUs):
    """The token lives longer than the ends of sessions and deletions are remembered."""

    code = "token_lifetime_refused"
    text = "the token lives too long: a revocation would be forgotten before it expires"


class LockedOut(Refused):
    """The token is good, and the person behind it may not come in."""

    code = "locked_out"
    text = "the person is locked out"


class UserDeleted(LockedOut):
    """The person has been deleted."""

    code = "user_deleted"
    text = "the user has been deleted"


class UserBanned(LockedOut):
    """The person has been banned."""

    code = "user_banned"
    text = "the user has been banned"


class SessionEnded(LockedOut):
    """The session of the token was revoked, ended or removed."""

    code = "session_ended"
    text = "the session is over"


class OrganizationDeleted(LockedOut):
    """The organization in the token has been deleted."""

    code = "organization_deleted"
    text = "the organization has been deleted"


class MembershipDeleted(LockedOut):
    """The person has been removed from the organization in the token."""

    code = "membership_deleted"
    text = "the user is no longer a member of the organization"


class NotAllowed(Refused):
    """The person is known and may come in, but what they asked for is not for them."""

    code = "not_allowed"
    text = "the person may not do this"


class UserMissing(NotAllowed):
    """An organization is calling, with a key of its own, and this takes a person."""

    code = "user_missing"
    text = "this takes a person, and an organization is calling"


class OrganizationMissing(NotAllowed):
    """No organization is active in the token, and one has to be."""

    code = "organization_missing"
    text = "the person has to choose an organization first"


class RoleMissing(NotAllowed):
    """The person does not have the role."""

    code = "role_missing"
    text = "the person does not have the role that this takes"


class PermissionMissing(NotAllowed):
    """The person does not have the permission in the active organization."""

    code = "permission_missing"
    text = "the person does not have the permission that this takes"


class FeatureMissing(NotAllowed):
    """Neither the organization nor the person has the feature."""

    code = "feature_missing"
    text = "this takes a feature that neither the organization nor the person has"


class PlanMissing(NotAllowed):
    """Neither the organization nor the person is on the plan."""

    code = "plan_missing"
    text = "this takes a plan that neither the organization nor the person is on"


class ImpersonationRefused(NotAllowed):
    """Somebody else is signed in as this person, and this takes the person."""

    code = "impersonation_refused"
    text = "this takes the person, and somebody else is acting as them"


class TokenOutdated(NotAllowed):
    """The role has changed since the token was made, so what it grants may have changed too."""

    code = "token_outdated"
    text = "the person's role has changed since the token was made"


class ReverificationNeeded(NotAllowed):
    """The person has to prove anew who they are: as one of Clerk's presets says, or a level and its minutes."""

    code = "reverification_needed"
    text = "the person has to prove anew who they are"

    def __init__(self, wanted: str | tuple[str, int] = "strict") -> None:
        super().__init__()
        self.wanted: str | tuple[str, int] = wanted


class PrincipalRefused(Refused):
    """What was handed on, to a job or to another process, is no principal."""

    code = "principal_refused"
    text = "what was handed on is no principal"


class SealBroken(PrincipalRefused):
    """None of the secrets made this seal over this very text."""

    code = "seal_broken"
    text = "the principal's seal is broken, or another's"


class SealExpired(PrincipalRefused):
    """The seal was good once: whoever it was made for came too late."""

    code = "seal_expired"
    text = "the principal's seal has expired"


class WebhookError(Refused):
    """The delivery is not Clerk's, or cannot be read. Sending it again would not help."""

    code = "webhook_refused"
    text = "the webhook is refused"


class WebhookHeadersRefused(WebhookError):
    """The headers are not one complete, plainly written family."""

    code = "webhook_headers_refused"
    text = "the webhook's headers are refused"


class WebhookOutOfTime(WebhookError):
    """The delivery was made too long ago, or is yet to be made: it may be a replay, or a clock is wrong."""

    code = "webhook_out_of_time"
    text = "the webhook is not of this time"


class WebhookTooLarge(WebhookError):
    """The body is larger than any that Clerk sends."""

    code = "webhook_too_large"
    text = "the webhook is too large"


class WebhookIncomplete(WebhookError):
    """The body did not arrive in time, or not to its end."""

    code = "webhook_incomplete"
    text = "the webhook did not arrive whole and in time"


class WebhookSignatureInvalid(WebhookError):
    """None of the signatures was made with one of our secrets over this very body."""

    code = "webhook_signature_invalid"
    text = "the webhook's signature does not match"


class WebhookMalformed(WebhookError):
    """The body is not an event."""

    code = "webhook_malformed"
    text = "the webhook cannot be read"


class WebhookFromElsewhere(WebhookError):
    """The event is another instance's."""

    code = "webhook_from_elsewhere"
    text = "the webhook is about another instance"


# -------------------------------------------------------------------------------------------- the world's fault


class Unavailable(ClerkmapError):
    """Something we depend on is away. Nothing is wrong with the caller: ask again later."""

    is_logged: bool = False  # whether the log has the cause already: once, for all the requests that it concerns
    code = "unavailable"
    text = "something clerkmap depends on is not available"


class KeysUnavailable(Unavailable):
    """The signing keys cannot be had."""

    code = "keys_unavailable"
    text = "the signing keys are not available"


class OperationUnderWay(Unavailable):
    """Another attempt at the same operation is under way, or was a moment ago. `organization_id` is the Clerk id of an
    organization that this attempt made, where another attempt has taken over meanwhile and may make a second one."""

    code = "operation_under_way"
    text = "the same operation is under way: say the same again in a moment"

    def __init__(self, detail: str = "", *, organization_id: str | None = None) -> None:
        super().__init__(detail)
        self.organization_id: str | None = organization_id


class RepositoryUnavailable(Unavailable):
    """The database did not answer. A write that raises this has written nothing, unless it is a `CommitUnknown`."""

    code = "repository_unavailable"
    text = "the repository is not available"


class CommitUnknown(RepositoryUnavailable):
    """The connection was lost during the commit: the write was made completely, or not at all. Read before you repeat
    it, because another writer may have acted on it since."""

    code = "commit_unknown"
    text = "the connection was lost during the commit, which may or may not have happened: read before you repeat it"


class ApiUnavailable(ApiError, Unavailable):
    """Clerk's API did not answer, or not in time, however often it was asked. Of what was to be made, nobody knows
    whether it was: look before you ask again."""

    code = "api_unavailable"
    text = "Clerk's API is not available"
