"""The setting `CLERKMAP`, and what is made of it: once, and when it is first needed.

    CLERKMAP = {"RESOLVER": "shop.clerk.resolver", "RECONCILER": "shop.clerk.reconciler"}

names yours. Without a resolver of yours, both are made of the instance and of a repository on Django's own connection.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, cast

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from ...auth.resolver import Resolver
from ...core.instance import Instance
from ...core.principal import Principal
from ...errors import ConfigurationError
from ...webhooks import Reconciler
from ..authenticator import Authenticator

DEFAULTS: Mapping[str, Any] = {
    "RESOLVER": None,  # yours, or the dotted path to it
    "RECONCILER": None,
    "INSTANCE": {},  # what of `Instance` is not in the environment
    "REPOSITORY": "clerkmap.repositories.django.DjangoRepository",  # called with an alias and these:
    "DATABASE": "default",  # its alias
    "ID_TYPE": "text",  # of your ids: text, bigint or uuid
    "FIRST_ID": None,  # with bigint: the first number that is clerkmap's; 1 where there are no rows yet
    "USERS_TABLE": None,  # with bigint: the table whose rows are your users
    "COOKIES": True,
    "ORIGINS": None,
    "USER_FIELD": None,  # of AUTH_USER_MODEL: unique, and holds clerkmap's id of a user
    "USER_FUNCTION": None,  # or what gives a user of AUTH_USER_MODEL for a principal
}
_IDS = {"text": "uuid7", "uuid": "uuid7", "bigint": "integer"}


def given() -> dict[str, Any]:
    """The setting as it stands."""
    found = getattr(settings, "CLERKMAP", {})
    if not isinstance(found, dict):
        raise ConfigurationError("the setting CLERKMAP is a dictionary")
    return cast(dict[str, Any], found)


def option(name: str) -> Any:
    """One of the options, or its default."""
    return given().get(name, DEFAULTS[name])


def database() -> str:
    """The alias of the database that has the tables."""
    return str(option("DATABASE"))


def id_type() -> str:
    """The column type of your ids."""
    found = option("ID_TYPE")
    if found not in _IDS:
        raise ConfigurationError("CLERKMAP['ID_TYPE'] is text, bigint or uuid")
    return str(found)


@cache
def resolver() -> Resolver:
    """Whom tokens lead to."""
    found = _imported("RESOLVER") or Resolver(_instance(), _repository())
    if not isinstance(found, Resolver):
        raise ConfigurationError("CLERKMAP['RESOLVER'] is no clerkmap.Resolver, nor leads to one")
    return found


@cache
def reconciler() -> Reconciler:
    """What takes in webhooks."""
    if option("RESOLVER") is not None and option("RECONCILER") is None:
        raise ConfigurationError("CLERKMAP names a RESOLVER of yours and no RECONCILER: webhooks need one")
    found = _imported("RECONCILER") or Reconciler(_instance(), _repository())
    if not isinstance(found, Reconciler):
        raise ConfigurationError("CLERKMAP['RECONCILER'] is no clerkmap.Reconciler, nor leads to one")
    return found


@cache
def authenticator() -> Authenticator:
    """What finds out who is calling."""
    return Authenticator(resolver(), cookies=option("COOKIES"), origins=option("ORIGINS"))


@cache
def user_function() -> Callable[[Principal], Any] | None:
    """Yours, if there is one."""
    found = _imported("USER_FUNCTION")
    if found is not None and not callable(found):
        raise ConfigurationError("CLERKMAP['USER_FUNCTION'] is a function of a principal")
    return cast("Callable[[Principal], Any] | None", found)


@cache
def _instance() -> Instance:
    return Instance.from_env(**option("INSTANCE"))


@cache
def _repository() -> Any:
    make: Any = _imported("REPOSITORY")
    given = {name: option(name.upper()) for name in ("first_id", "users_table") if option(name.upper()) is not None}
    return make(database(), ids=_IDS[id_type()], id_type=id_type(), **given)


def _imported(name: str) -> object:
    found = option(name)
    if not isinstance(found, str):
        return found
    try:
        return cast(object, import_string(found))
    except ImportError as error:
        raise ConfigurationError(f"CLERKMAP['{name}'] cannot be imported: {error}") from error


def forget(*, setting: str = "CLERKMAP", **_: object) -> None:
    """Make everything anew: the setting has changed, as it does in tests."""
    if setting == "CLERKMAP":
        for made in (resolver, reconciler, authenticator, user_function, _instance, _repository):
            made.cache_clear()


setting_changed.connect(forget)
