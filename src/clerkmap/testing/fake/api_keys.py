"""What is published: the public keys, on the API's host and on the front end's, and where to find them."""

from .api_requests import Call, Json, Route, Routes


def jwks(call: Call) -> Json:
    """The public keys; those of another instance while `faults.keys_of` says so."""
    return (call.clerk.faults.keys_of or call.clerk).jwks()


def openid_configuration(call: Call) -> Json:
    """The discovery document."""
    issuer = call.clerk.issuer
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth/authorize",
        "token_endpoint": f"{issuer}/oauth/token",
        "userinfo_endpoint": f"{issuer}/oauth/userinfo",
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "id_token_signing_alg_values_supported": [call.clerk.key.algorithm],
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "scopes_supported": ["openid", "profile", "email"],
    }


# Without a key, and without a version.
PUBLIC: Routes = [
    Route("GET", "/.well-known/jwks.json", jwks),
    Route("GET", "/.well-known/openid-configuration", openid_configuration),
]
ROUTES: Routes = [Route("GET", "/jwks", jwks)]
