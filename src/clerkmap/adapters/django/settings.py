"""The setting `CLERKMAP`, and the objects that it configures. They are created once, on first use.

    CLERKMAP = {"RESOLVER": "shop.clerk.resolver", "RECONCILER": "shop.clerk.reconciler"}

Without RESOLVER, resolver and reconciler are created from the instance and a repository on Django's connection.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, cast

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.functional import Promise
from django.utils.module_loading import import_string

from ...auth.resolver import Resolver
from ...core.instance import Instance
from ...core.pages import Page, PageOptions
from ...core.principal import Principal
from ...errors import ConfigurationError
from ...webhooks import Reconciler
from ..authenticator import Authenticator

DEFAULTS: Mapping[str, Any] = {
    "RESOLVER": None,  # a Resolver, or the dotted path to one
    "RECONCILER": None,  # a Reconciler, or the dotted path to one
    "INSTANCE": {},  # arguments of `Instance` that are not in the environment
    "REPOSITORY": "clerkmap.repositories.django.DjangoRepository",  # called with the next four
    "DATABASE": "default",  # an alias in DATABASES
    "ID_TYPE": "text",  # the column type of your ids: text, bigint or uuid
    "FIRST_ID": None,  # with bigint: clerkmap's first number; 1 if the tables are empty
    "USERS_TABLE": None,  # with bigint: the table that has your users
    "COOKIES": True,
    "ORIGINS": None,
    "SIGN_IN_PAGE": None,  # these three: a path within the project, or reverse_lazy(...), see `Pages`
    "REFRESH_PAGE": None,
    "ORGANIZATION_PAGE": None,
    "USER_FIELD": None,  # a unique field of AUTH_USER_MODEL, for clerkmap's user id
    "USER_FUNCTION": None,  # or a function that returns a user of AUTH_USER_MODEL for a principal
}
_IDS = {"text": "uuid7", "uuid": "uuid7", "bigint": int}


def given() -> dict[str, Any]:
    """Return the setting as the project has it."""
    found = getattr(settings, "CLERKMAP", {})
    if not isinstance(found, dict):
        raise ConfigurationError("the setting CLERKMAP must be a dictionary")
    return cast(dict[str, Any], found)


def option(name: str) -> Any:
    """Return an option, or its default."""
    return given().get(name, DEFAULTS[name])


def database() -> str:
    """Return the alias of the database that has clerkmap's tables."""
    return str(option("DATABASE"))


def id_type() -> str:
    """Return the column type of your ids."""
    found = option("ID_TYPE")
    if found not in _IDS:
        raise ConfigurationError("CLERKMAP['ID_TYPE'] must be 'text', 'bigint' or 'uuid'")
    return str(found)


@cache
def resolver() -> Resolver:
    """Return the resolver."""
    found: Resolver = _imported("RESOLVER") or Resolver(_instance(), _repository())
    if not isinstance(found, Resolver):
        raise ConfigurationError("CLERKMAP['RESOLVER'] must be a clerkmap.Resolver, or the dotted path to one")
    return found


@cache
def reconciler() -> Reconciler:
    """Return the reconciler."""
    if option("RESOLVER") is not None and option("RECONCILER") is None:
        raise ConfigurationError("CLERKMAP has a RESOLVER and no RECONCILER: webhooks need both")
    found = _imported("RECONCILER") or Reconciler(_instance(), _repository())
    if not isinstance(found, Reconciler):
        raise ConfigurationError("CLERKMAP['RECONCILER'] must be a clerkmap.Reconciler, or the dotted path to one")
    return found


@cache
def authenticator() -> Authenticator:
    """Return the authenticator."""
    pages = PageOptions(
        sign_in_page=_page("SIGN_IN_PAGE"),
        refresh_page=_page("REFRESH_PAGE"),
        organization_page=_page("ORGANIZATION_PAGE"),
    )
    return Authenticator(resolver(), cookies=option("COOKIES"), origins=option("ORIGINS"), **pages)


def _page(name: str) -> Page | None:
    """Return a page. The value of `reverse_lazy` is a whole path, and is known only after the URLs are loaded."""
    found: Any = option(name)
    return (lambda: str(found)) if isinstance(found, Promise) else found


@cache
def user_function() -> Callable[[Principal], Any] | None:
    """Return the project's user function, or None."""
    found = _imported("USER_FUNCTION")
    if found is not None and not callable(found):
        raise ConfigurationError("CLERKMAP['USER_FUNCTION'] must be a function that takes a principal")
    return cast("Callable[[Principal], Any] | None", found)


@cache
def _instance() -> Instance:
    return Instance.from_env(**option("INSTANCE"))


@cache
def _repository() -> Any:
    make: Any = _imported("REPOSITORY")
    given = {name: option(name.upper()) for name in ("first_id", "users_table") if option(name.upper()) is not None}
    return make(database(), ids=_IDS[id_type()], id_type=id_type(), **given)


def _imported(name: str) -> Any:
    found = option(name)
    if not isinstance(found, str):
        return found
    try:
        return import_string(found)
    except ImportError as error:
        raise ConfigurationError(f"CLERKMAP['{name}'] cannot be imported: {error}") from error


def forget(*, setting: str = "CLERKMAP", **_: object) -> None:
    """Clear all created objects after the setting has changed, as in tests."""
    if setting == "CLERKMAP":
        for cached in (resolver, reconciler, authenticator, user_function, _instance, _repository):
            cached.cache_clear()


setting_changed.connect(forget)
