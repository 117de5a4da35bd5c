"""`request.user` as a user of your own AUTH_USER_MODEL.

Your model has a unique field with clerkmap's user id, or you provide a function. An address or a name never finds a
user: an attacker could choose another user's address or name at Clerk.
"""

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.utils.functional import SimpleLazyObject

from ...auth.result import AuthResult
from ...core.principal import Principal
from ...errors import TokenMissing
from . import settings as conf

_FOUND = "_clerkmap_user"


def are_configured() -> bool:
    """Return whether the settings configure users of your model."""
    return conf.option("USER_FIELD") is not None or conf.option("USER_FUNCTION") is not None


def set_user(request: Any, result: AuthResult) -> None:
    """Set `request.user`, lazily, and `request.auser` for async code. Without a token, keep the user of Django's
    session, or set an anonymous user."""
    if isinstance(result.error, TokenMissing):
        if not hasattr(request, "user"):
            request.user, request.auser = _anonymous(), _aanonymous
        return

    def user() -> Any:
        if result.optional_principal is None:  # on an error page, which must not raise again
            return _anonymous()
        if not hasattr(request, _FOUND):
            setattr(request, _FOUND, find(result.principal))
        return getattr(request, _FOUND)

    async def auser() -> Any:
        return await sync_to_async(user)()

    request.user, request.auser = SimpleLazyObject(user), auser


def find(principal: Principal) -> Any:
    """Return the user of your model, created on first sight, or an anonymous user if yours is inactive."""
    function = conf.user_function()
    user = _linked(principal) if function is None else function(principal)
    return user if user is not None and getattr(user, "is_active", True) else _anonymous()


def _linked(principal: Principal) -> Any:
    """Get or create the user. The field is unique, so concurrent first requests create one user."""
    model = get_user_model()
    link: dict[str, Any] = {str(conf.option("USER_FIELD")): principal.user.id}
    has_password = any(field.name == "password" for field in model._meta.get_fields())
    defaults = {"password": make_password(None)} if has_password else {}  # unusable
    user, _created = model._default_manager.get_or_create(**link, defaults=defaults)
    return user


async def _aanonymous() -> Any:
    return _anonymous()


def _anonymous() -> Any:
    from django.contrib.auth.models import AnonymousUser  # not at the top, because the apps must be loaded first

    return AnonymousUser()
