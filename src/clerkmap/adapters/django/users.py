"""`request.user`: of your own AUTH_USER_MODEL, through a link.

The link is a unique field of your model that holds clerkmap's id of the user, or a function of yours. Nobody is ever
found by an address or a name: whoever can choose theirs at Clerk would choose somebody else's.
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


def are_wanted() -> bool:
    """Whether the settings ask for users of your model."""
    return conf.option("USER_FIELD") is not None or conf.option("USER_FUNCTION") is not None


def introduce(request: Any, caller: AuthResult) -> None:
    """Set `request.user`, lazily, and `request.auser` for async code. Who brings no token is whoever Django's session
    says, if there is one, and otherwise nobody."""
    if isinstance(caller.refusal, TokenMissing):
        if not hasattr(request, "user"):
            request.user, request.auser = _nobody(), _anobody
        return

    def user() -> Any:
        if caller.optional_principal is None:  # an error page, which must not fail in its turn
            return _nobody()
        if not hasattr(request, _FOUND):
            setattr(request, _FOUND, find(caller.principal))
        return getattr(request, _FOUND)

    async def auser() -> Any:
        return await sync_to_async(user)()

    request.user, request.auser = SimpleLazyObject(user), auser


def find(principal: Principal) -> Any:
    """The user of your model, made if need be. Nobody, if it is one whom you have made inactive."""
    function = conf.user_function()
    user = _linked(principal) if function is None else function(principal)
    return user if user is not None and getattr(user, "is_active", True) else _nobody()


def _linked(principal: Principal) -> Any:
    """However many first requests come at once, the field is unique: one of them makes the user."""
    model = get_user_model()
    link: dict[str, Any] = {str(conf.option("USER_FIELD")): principal.user.id}
    has_password = any(field.name == "password" for field in model._meta.get_fields())
    defaults = {"password": make_password(None)} if has_password else {}  # one that fits nothing
    user, _made = model._default_manager.get_or_create(**link, defaults=defaults)
    return user


async def _anobody() -> Any:
    return _nobody()


def _nobody() -> Any:
    from django.contrib.auth.models import AnonymousUser  # models can be imported when the apps have been

    return AnonymousUser()
