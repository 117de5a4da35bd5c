"""The fields of Clerk's objects and their types, as its published OpenAPI descriptions have them.

Carried over field by field from `bapi/2026-05-12` and `webhooks/2025-04-15` of the public repository
`clerk/openapi-specs`. Each object is a line of `name:type` words:

    name*       the field may be missing; every other one must be there
    type?       it may be null
    text int number bool object any     plain JSON; `object` and `any` are not looked into
    =a/b        one of these texts
    [type]      a list;  Name   another object of this table;  A|B   one of the two
    ~name       a text of the pattern of that name

No object has a field that is not listed. Where the descriptions contradict themselves or Clerk's own examples, the
table says so in a comment.
"""

import re
from typing import Any

PATTERNS = {
    "key_id": re.compile(r"ak_[0-9A-Fa-f]{32}"),
    "machine_token_id": re.compile(r"mt_[0-9A-Fa-f]{32}"),
    "oauth_token_id": re.compile(r"oat_[0-9A-Fa-f]{32}"),
    "user": re.compile(r"user_\w{27}"),
    "machine": re.compile(r"mch_\w{27}"),
    "owner": re.compile(r"(user|org|mch)_\w{27}"),
    "provider": re.compile(r"oauth_[a-z]+"),
    "from_provider": re.compile(r"from_oauth_(token_|custom_)?[a-z]+"),
    "provider_strategy": re.compile(r"oauth_(token_|custom_)?[a-z]+"),
}

# The end of each verification: how often it was tried, until when it can be, and by which client it was done.
_TRIED = "attempts:int? expire_at:int? verified_at_client*:text?"
_STATUS = "status:=unverified/verified/failed/expired"
_DATES = "created_at:int updated_at:int"
_NAMES = "first_name*:text? last_name*:text?"
_TOKEN = "revoked:bool revocation_reason:text? expired:bool expiration:number? created_at:number updated_at:number"
_INVITATION = (
    "object:=organization_invitation id:text email_address:text role:text role_name:text organization_id*:text "
    # Of an invitation that the API made there is no inviter; the description says that this object is never null.
    "inviter_id:text? public_inviter_data:Inviter? status*:text public_metadata:object private_metadata*:object "
    f"url:text? expires_at:int? {_DATES}"
)
_SESSION = (
    # The webhooks' description leaves `pending` out, and has an event of it.
    "object:=session id:text user_id:text client_id:text actor*:object? "
    "status:=active/revoked/ended/expired/removed/abandoned/replaced/pending last_active_organization_id*:text? "
    f"last_active_at:int latest_activity*:Activity expire_at:int abandon_at:int {_DATES}"
)

SCHEMAS: dict[str, str] = {
    "User": (
        "id:text object:=user external_id:text? primary_email_address_id:text? primary_phone_number_id:text? "
        "primary_web3_wallet_id:text? username:text? first_name:text? last_name:text? locale*:text? "
        "profile_image_url*:text image_url*:text has_image:bool public_metadata:object private_metadata*:object? "
        "unsafe_metadata*:object email_addresses:[EmailAddress] phone_numbers:[PhoneNumber] "
        "web3_wallets:[Web3Wallet] passkeys:[Passkey] password_enabled:bool two_factor_enabled:bool "
        "totp_enabled:bool backup_code_enabled:bool mfa_enabled_at:int? mfa_disabled_at:int? "
        "password_last_updated_at*:int? external_accounts:[ExternalAccount] saml_accounts:[SamlAccount] "
        "enterprise_accounts:[EnterpriseAccount] organization_memberships*:[Membership] last_sign_in_at:int? "
        "banned:bool locked:bool deprovisioned*:bool lockout_expires_in_seconds:int? "
        f"verification_attempts_remaining:int? {_DATES} delete_self_enabled:bool create_organization_enabled:bool "
        "create_organizations_limit*:int? last_active_at:int? legal_accepted_at:int? bypass_client_trust*:bool "
        "scim*:Scim?"
    ),
    "EmailAddress": (
        "id*:text object:=email_address email_address:text reserved:bool "
        "verification:Otp|Admin|FromOauth|Ticket|Saml|EmailLink|ScimVerification? linked_to:[Link] "
        f"matches_sso_connection*:bool {_DATES}"
    ),
    "PhoneNumber": (
        "id*:text object:=phone_number phone_number:text reserved_for_second_factor*:bool "
        "default_second_factor*:bool reserved:bool verification:Otp|Admin? linked_to:[Link] "
        f"backup_codes*:[text]? {_DATES}"
    ),
    "Web3Wallet": f"id*:text object:=web3_wallet web3_wallet:text verification:Web3|Admin? {_DATES}",
    "Passkey": "id*:text object:=passkey name:text last_used_at:int verification:PasskeyVerification?",
    "ExternalAccount": (
        "object:=external_account/facebook_account/google_account id:text provider:text identification_id:text "
        "provider_user_id:text approved_scopes:text email_address:text email_address_verified*:bool? first_name:text "
        "last_name:text avatar_url*:text image_url*:text? username*:text? phone_number*:text? public_metadata:object "
        f"label*:text? {_DATES} verification:Oauth|OneTap?"
    ),
    "SamlAccount": (
        f"id:text object:=saml_account provider:text active:bool email_address:text {_NAMES} provider_user_id*:text? "
        "last_authenticated_at*:int? public_metadata*:object verification:Saml|Ticket? saml_connection*:any?"
    ),
    "EnterpriseAccount": (
        "id:text object:=enterprise_account protocol*:=oauth/saml provider:text active:bool email_address:text "
        f"{_NAMES} provider_user_id*:text? enterprise_connection_id*:text? public_metadata*:object "
        "verification:Ticket|Saml|Oauth? enterprise_connection*:any? last_authenticated_at*:int?"
    ),
    "Scim": "directory_id:text directory_enabled*:bool external_id:text?",
    "Link": "type:~provider id:text",
    "Otp": (
        f"object*:=verification_otp {_STATUS} strategy:=phone_code/email_code/reset_password_email_code "
        f"channel*:text? {_TRIED}"
    ),
    "Admin": f"object*:=verification_admin status:=verified strategy:=admin {_TRIED}",
    "FromOauth": (
        f"object*:=verification_from_oauth status:=unverified/verified strategy:~from_provider error*:Error? {_TRIED}"
    ),
    "Ticket": f"object*:=verification_ticket status:=unverified/verified/expired strategy:=ticket {_TRIED}",
    "Saml": (
        "object*:=verification_saml status:=unverified/verified/failed/expired/transferable strategy:=saml "
        "external_verification_redirect_url*:text? error*:Error? attempts:int? expire_at*:int? "
        "verified_at_client*:text?"
    ),
    "EmailLink": f"object*:=verification_email_link {_STATUS} strategy:=email_link {_TRIED}",
    "ScimVerification": ("object*:=verification_scim status:=verified strategy:=scim attempts:int? expire_at:int?"),
    "Web3": (
        f"object*:=verification_web3 {_STATUS} strategy:=web3_metamask_signature/web3_base_signature/"
        "web3_coinbase_wallet_signature/web3_okx_wallet_signature/web3_solana_signature nonce*:text? message*:text? "
        f"{_TRIED}"
    ),
    "PasskeyVerification": (
        f"object*:=verification_passkey status:=verified strategy:=passkey nonce*:=nonce message*:text? {_TRIED}"
    ),
    "Oauth": (
        "object*:=verification_oauth status:=unverified/verified/failed/expired/transferable "
        "strategy:~provider_strategy external_verification_redirect_url*:text error*:Error? expire_at:int "
        "attempts:int? verified_at_client*:text?"
    ),
    "OneTap": (
        "object*:=verification_google_one_tap status:=unverified/verified strategy:=google_one_tap error*:Error? "
        f"{_TRIED}"
    ),
    "Organization": (
        "object:=organization id:text name:text slug:text image_url*:text has_image:bool members_count*:int "
        "missing_member_with_elevated_permissions*:bool pending_invitations_count*:int max_allowed_memberships:int "
        "admin_delete_enabled:bool public_metadata:object private_metadata*:object created_by*:text "
        f"{_DATES} last_active_at*:int role_set_key*:text?"
    ),
    "Membership": (
        "id:text object:=organization_membership role:text role_name*:text permissions:[text] public_metadata:object "
        f"private_metadata*:object organization:Organization public_user_data*:Member {_DATES}"
    ),
    "Member": (
        "user_id:text first_name:text? last_name:text? profile_image_url:text? image_url:text has_image:bool "
        "identifier*:text? username*:text? banned*:bool deprovisioned*:bool"
    ),
    "Invitation": _INVITATION,
    "ListedInvitation": f"{_INVITATION} public_organization_data*:Inviting",
    "ToldInvitation": f"{_INVITATION} data*:ToldOrganization",
    "AcceptedInvitation": f"{_INVITATION} user_id:text data:ToldOrganization",
    "ToldOrganization": "public_organization_data*:Inviting?",
    "Inviter": "user_id:text first_name:text? last_name:text? image_url:text has_image:bool identifier:text",
    "Inviting": "id:text name:text slug:text image_url*:text has_image:bool",
    "Session": f"{_SESSION} tasks*:[any]?",
    "ToldSession": f"{_SESSION} user:User",
    "Activity": (
        "object:text id:text device_type*:text is_mobile:bool browser_name*:text browser_version*:text "
        "ip_address*:text city*:text country*:text"
    ),
    "Deleted": "object:text id*:text slug*:text deleted:bool external_id*:text",
    "Count": "object:=total_count total_count:int",
    "Memberships": "data:[Membership] total_count:int",
    "Organizations": "data:[Organization] total_count:int",
    "Invitations": "data:[Invitation] total_count:int",
    "ListedInvitations": "data:[ListedInvitation] total_count:int",
    "Sessions": "data:[Session] total_count:int",
    "Made": "object*:=token jwt*:text",
    "Key": "kid:text alg:text use:text kty:=RSA n:text e:text",
    "Keys": "keys:[Key]",
    "ApiKey": (
        "object:=api_key id:~key_id type:text subject:~owner name:text description*:text? claims:any? scopes:[text] "
        f"created_by*:~user? last_used_at*:number? {_TOKEN}"
    ),
    "MachineToken": (
        "object:=machine_to_machine_token id:~machine_token_id subject:~machine claims*:any? scopes*:[~machine] "
        f"last_used_at*:number? {_TOKEN}"
    ),
    "OauthToken": (
        f"object:=clerk_idp_oauth_access_token id:~oauth_token_id client_id:text subject:~user scopes:[text] {_TOKEN}"
    ),
    "Inactive": "active:bool",
    "Error": "message:text long_message:text code:text meta*:object",
    "Errors": "errors:[Error] meta*:object clerk_trace_id*:text",
    "Event": "object:text type:text event_attributes*:Attributes timestamp:int instance_id:text data:any",
    "Attributes": "http_request*:Request",
    "Request": "client_ip*:text user_agent*:text",
}

# The object in the `data` of each event about something that clerkmap or its made-up Clerk knows.
EVENTS: dict[str, str] = {
    **{f"user.{what}": "User" for what in ("created", "updated")},
    **{f"organization.{what}": "Organization" for what in ("created", "updated")},
    **{f"organizationMembership.{what}": "Membership" for what in ("created", "updated", "deleted")},
    **{f"organizationInvitation.{what}": "ToldInvitation" for what in ("created", "revoked")},
    "organizationInvitation.accepted": "AcceptedInvitation",
    **{f"session.{what}": "ToldSession" for what in ("created", "pending", "ended", "removed", "revoked")},
    **{f"{what}.deleted": "Deleted" for what in ("user", "organization")},
}

_PLAIN: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "int": (int,),
    "number": (int, float),
    "bool": (bool,),
    "object": (dict,),
}


def fields_of(schema: str) -> dict[str, tuple[bool, str]]:
    """The fields of an object: whether each must be there, and its type."""
    pairs = [word.split(":", 1) for word in SCHEMAS[schema].split()]
    return {name.rstrip("*"): (not name.endswith("*"), kind) for name, kind in pairs}


def faults(schema: str, value: Any, where: str = "") -> list[str]:
    """What of a value is not as the schema has it."""
    where = where or schema
    if not isinstance(value, dict):
        return [f"{where} is no object"]
    fields = fields_of(schema)
    found = [f"{where}.{name} is unknown" for name in value if name not in fields]
    for name, (needed, kind) in fields.items():
        if name in value:
            found += faults_of_type(kind, value[name], f"{where}.{name}")
        elif needed:
            found.append(f"{where}.{name} is missing")
    return found


def faults_of_type(kind: str, value: Any, where: str) -> list[str]:
    """What of a value is not of a type."""
    if kind.endswith("?"):
        return [] if value is None else faults_of_type(kind[:-1], value, where)
    if kind == "any":
        return []
    if kind.startswith("["):
        if not isinstance(value, list):
            return [f"{where} is no list"]
        return [fault for each in value for fault in faults_of_type(kind[1:-1], each, where)]
    if kind.startswith("="):
        return [] if value in kind[1:].split("/") else [f"{where} is another text"]
    if kind.startswith("~"):
        fits = isinstance(value, str) and PATTERNS[kind[1:]].fullmatch(value)
        return [] if fits else [f"{where} is not written like a {kind[1:]}"]
    if kind in _PLAIN:
        return [] if type(value) in _PLAIN[kind] else [f"{where} is no {kind}"]
    choices = [faults(name, value, where) for name in kind.split("|")]
    return [] if [] in choices else min(choices, key=len)
