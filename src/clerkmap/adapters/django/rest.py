"""Django REST framework: an authentication class, permission classes, and an exception handler.

    REST_FRAMEWORK = {
        "DEFAULT_AUTHENTICATION_CLASSES": ["clerkmap.adapters.django.rest.ClerkAuthentication"],
        "EXCEPTION_HANDLER": "clerkmap.adapters.django.rest.exception_handler",
    }

The middleware has found out who is calling; these hand it on. Statuses, bodies and challenges are those of every
other framework; with the exception handler, the rest of the answer is, too.
"""

import json
from dataclasses import dataclass
from typing import Any, ClassVar, Unpack

try:
    from rest_framework.authentication import BaseAuthentication
    from rest_framework.exceptions import APIException, NotAuthenticated
    from rest_framework.permissions import BasePermission
except ModuleNotFoundError as _error:
    raise ImportError("this adapter needs Django REST framework: pip install djangorestframework") from _error

from ...core.principal import Principal
from ...core.requirements import Requirement, RequirementOptions
from ...core.responses import RETRY_AFTER, error_response
from ...errors import NotAllowed, Refused, TokenMissing, Unavailable
from ..authenticator import requirement_of
from . import users
from .middleware import auth_result_of, refuse, remember_page


class Refusal(APIException):
    """What clerkmap refuses, in REST framework's words. `error` is the error itself."""

    def __init__(self, error: Refused | Unavailable) -> None:
        told = error_response(error)
        super().__init__(error.text, error.code)
        self.error: Refused | Unavailable = error
        self.status_code: int = told.status
        self.detail: Any = json.loads(told.body)
        challenge = dict(told.headers).get("www-authenticate")
        if challenge is not None:
            self.auth_header: str = challenge
        if told.status == 503:
            self.wait: float = RETRY_AFTER


@dataclass(frozen=True, slots=True)
class ClerkUser:
    """`request.user`, where the settings ask for no user of your own model."""

    principal: Principal
    is_authenticated: ClassVar[bool] = True
    is_anonymous: ClassVar[bool] = False
    is_active: ClassVar[bool] = True

    @property
    def pk(self) -> Any:
        """clerkmap's id, which throttling counts by."""
        return self.principal.user.id


class ClerkAuthentication(BaseAuthentication):
    """`request.auth` is the principal, `request.user` your own model's user, if the settings ask for it."""

    def authenticate(self, request: Any) -> tuple[Any, Principal] | None:
        """Who is calling. None where no token came at all."""
        caller = auth_result_of(request._request)
        try:
            principal = caller.optional_principal
            if principal is None:
                return None
            user = users.find(principal) if users.are_wanted() else ClerkUser(principal)
            if not user.is_authenticated:  # theirs is there, and not active: as with the framework's own tokens
                raise NotAllowed
            return user, principal
        except (Refused, Unavailable) as error:
            raise Refusal(error) from None

    def authenticate_header(self, request: Any) -> str:
        """Says that a 401 is one: without it the framework would make a 403 of it."""
        return "Bearer"


def requires(requirement: Requirement | None = None, /, **options: Unpack[RequirementOptions]) -> type[BasePermission]:
    """A permission class: `permission_classes = [requires(role="admin")]`. The words are those of `Requirement`."""
    required = requirement_of(requirement, options)

    class Permission(BasePermission):
        def has_permission(self, request: Any, view: Any) -> bool:
            remember_page(request._request, required.organization_page)
            try:
                auth_result_of(request._request).require(required)
            except (Refused, Unavailable) as error:
                raise Refusal(error) from None
            return True

    return Permission


def exception_handler(error: Exception, context: Any) -> Any:
    """The framework's own, but for what clerkmap refuses: that gets the very answer it gets anywhere else."""
    from rest_framework import views  # not above: while it is loaded itself, it loads the authentication classes

    if isinstance(error, NotAuthenticated):
        error = TokenMissing()
    refusal = error.error if isinstance(error, Refusal) else error
    if not isinstance(refusal, (Refused, Unavailable)):
        return views.exception_handler(error, context)
    views.set_rollback()
    return refuse(context["request"]._request, refusal)
