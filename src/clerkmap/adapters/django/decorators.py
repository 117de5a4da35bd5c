"""Requirements for views: a decorator for functions and a mixin for classes."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, Unpack, cast, overload

from asgiref.sync import iscoroutinefunction

from ...auth.result import SIGNED_IN
from ...core.requirements import Requirement, RequirementOptions
from ...errors import ConfigurationError
from ..authenticator import requirement_of
from .middleware import auth_result_of, remember_requirement

View = TypeVar("View", bound=Callable[..., Any])


@overload
def require(view: View, /) -> View: ...
@overload
def require(
    requirement: Requirement | None = None, /, **options: Unpack[RequirementOptions]
) -> Callable[[View], View]: ...
def require(view_or_requirement: Any = None, /, **options: Unpack[RequirementOptions]) -> Any:
    """Check a requirement before a sync or async view: `@require(organization_role="admin")`.

    Takes a `Requirement` or the arguments of one; without any, the caller must be signed in. `OPTIONS` is refused like
    any method, so use a CORS middleware. `AuthMiddleware` responds to a refused request.
    """
    if callable(view_or_requirement):
        return require()(cast("Callable[..., Any]", view_or_requirement))
    requirement = requirement_of(view_or_requirement, options)

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        if iscoroutinefunction(view):  # pyright: ignore[reportDeprecated]

            @wraps(view)
            async def acall(request: Any, *args: Any, **kwargs: Any) -> Any:
                await _acheck(request, requirement)
                return await view(request, *args, **kwargs)

            return acall

        @wraps(view)
        def call(request: Any, *args: Any, **kwargs: Any) -> Any:
            _check(request, requirement)
            return view(request, *args, **kwargs)

        return call

    return decorate


class RequireMixin:
    """Checks `required` in a class-based view, sync or async. It must be the first base class.

    class Invoices(RequireMixin, View):
        required = Requirement(permission="org:invoices:read")
    """

    required: Requirement = SIGNED_IN

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        before = cls.__mro__[: cls.__mro__.index(RequireMixin)]
        if any("as_view" in vars(base) for base in before):
            raise ConfigurationError(f"{cls.__name__}: RequireMixin must be the first base class")

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Check the requirement, then call Django's `dispatch`."""
        view: Any = super()
        if getattr(self, "view_is_async", False):
            return self._adispatch(view, request, *args, **kwargs)
        _check(request, self.required)
        return view.dispatch(request, *args, **kwargs)

    async def _adispatch(self, view: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        await _acheck(request, self.required)
        response = view.dispatch(request, *args, **kwargs)
        return await response if hasattr(response, "__await__") else response  # the 405 response is not awaitable


def _check(request: Any, requirement: Requirement) -> None:
    remember_requirement(request, requirement)
    auth_result_of(request).require(requirement)


async def _acheck(request: Any, requirement: Requirement) -> None:
    remember_requirement(request, requirement)
    await auth_result_of(request).arequire(requirement)
