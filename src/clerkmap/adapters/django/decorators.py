"""What a view requires of its caller: a decorator for functions, a mixin for classes. The words are `Requirement`'s."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, Unpack, cast, overload

from asgiref.sync import iscoroutinefunction

from ...auth.result import SIGNED_IN
from ...core.requirements import Requirement, RequirementOptions
from ...errors import ConfigurationError
from ..authenticator import requirement_of
from .middleware import auth_result_of, remember_page

View = TypeVar("View", bound=Callable[..., Any])


@overload
def require(view: View, /) -> View: ...
@overload
def require(
    requirement: Requirement | None = None, /, **options: Unpack[RequirementOptions]
) -> Callable[[View], View]: ...
def require(what: Any = None, /, **options: Unpack[RequirementOptions]) -> Any:
    """Let only those reach a view, sync or async, who have what is required: `@require(role="admin")`.

    The arguments are those of `Requirement`, or one that is made already; without any, somebody must be signed in.
    `OPTIONS` is refused like any method: a CORS middleware stands outside of views. The middleware answers a
    refused request.
    """
    if callable(what):
        return require()(cast("Callable[..., Any]", what))
    requirement = requirement_of(what, options)

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
    """For class-based views, sync and async. It stands first among the bases.

    class Invoices(RequireMixin, View):
        required = Requirement(permission="org:invoices:read")
    """

    required: Requirement = SIGNED_IN

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        before = cls.__mro__[: cls.__mro__.index(RequireMixin)]
        if any("as_view" in vars(base) for base in before):
            raise ConfigurationError(f"{cls.__name__}: RequireMixin stands first among the bases")

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Django's own, for those who have what is required."""
        view: Any = super()
        if getattr(self, "view_is_async", False):
            return self._adispatch(view, request, *args, **kwargs)
        _check(request, self.required)
        return view.dispatch(request, *args, **kwargs)

    async def _adispatch(self, view: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        await _acheck(request, self.required)
        response = view.dispatch(request, *args, **kwargs)
        return await response if hasattr(response, "__await__") else response  # a method that is not allowed


def _check(request: Any, requirement: Requirement) -> None:
    remember_page(request, requirement.organization_page)
    auth_result_of(request).require(requirement)


async def _acheck(request: Any, requirement: Requirement) -> None:
    remember_page(request, requirement.organization_page)
    await auth_result_of(request).arequire(requirement)
