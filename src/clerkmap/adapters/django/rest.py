"""Django REST framework: an authentication class, permission classes, and an exception handler.

    REST_FRAMEWORK = {
        "DEFAULT_AUTHENTICATION_CLASSES": ["clerkmap.adapters.django.rest.ClerkAuthentication"],
        "EXCEPTION_HANDLER": "clerkmap.adapters.django.rest.exception_handler",
    }

They use the result of clerkmap's middleware. Status, body and challenge of an error are the standard ones. With the
exception handler, the other headers are, too.
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
from .middleware import auth_result_of, remember_requirement, response_to


class ClerkAPIException(APIException):
    """A clerkmap error as REST framework's APIException. `error` is the error itself."""

    def __init__(self, error: Refused | Unavailable) -> None:
        response = error_response(error)
        super().__init__(error.text, error.code)
        self.error: Refused | Unavailable = error
        self.status_code: int = response.status
        self.detail: Any = json.loads(response.body)
        challenge = dict(response.headers).get("www-authenticate")
        if challenge is not None:
            self.auth_header: str = challenge
        if response.status == 503:
            self.wait: float = RETRY_AFTER


@dataclass(frozen=True, slots=True)
class PrincipalUser:
    """`request.user`, unless the settings configure a user of your own model."""

    principal: Principal
    is_authenticated: ClassVar[bool] = True
    is_anonymous: ClassVar[bool] = False
    is_active: ClassVar[bool] = True

    @property
    def pk(self) -> Any:
        """The id of your user. Throttling uses it."""
        return self.principal.user.id


class ClerkAuthentication(BaseAuthentication):
    """Sets `request.auth` to the principal, and `request.user` to the user of your own model, if configured."""

    def authenticate(self, request: Any) -> tuple[Any, Principal] | None:
        """Return the user and the principal, or None if the request has no token."""
        try:
            principal = auth_result_of(request._request).optional_principal
            if principal is None:
                return None
            user = users.find(principal) if users.are_configured() else PrincipalUser(principal)
            if not user.is_authenticated:  # an inactive user is refused, like with REST framework's own tokens
                raise NotAllowed
            return user, principal
        except (Refused, Unavailable) as error:
            raise ClerkAPIException(error) from None

    def authenticate_header(self, request: Any) -> str:
        """Return a challenge, because without it REST framework turns a 401 into a 403."""
        return "Bearer"


def requires(requirement: Requirement | None = None, /, **options: Unpack[RequirementOptions]) -> type[BasePermission]:
    """Return a permission class for a `Requirement` or the arguments of one:
    `permission_classes = [requires(organization_role="admin")]`."""
    required = requirement_of(requirement, options)

    class Permission(BasePermission):
        def has_permission(self, request: Any, view: Any) -> bool:
            remember_requirement(request._request, required)
            try:
                auth_result_of(request._request).require(required)
            except (Refused, Unavailable) as error:
                raise ClerkAPIException(error) from None
            return True

    return Permission


def exception_handler(error: Exception, context: Any) -> Any:
    """Return the standard response to clerkmap's errors, and leave other exceptions to REST framework."""
    from rest_framework import views  # not at the top, because importing it loads the authentication classes

    if isinstance(error, NotAuthenticated):
        error = TokenMissing()
    cause = error.error if isinstance(error, ClerkAPIException) else error
    if not isinstance(cause, (Refused, Unavailable)):
        return views.exception_handler(error, context)
    views.set_rollback()
    return response_to(context["request"]._request, cause)
