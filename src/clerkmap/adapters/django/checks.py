"""What `manage.py check` looks at: mistakes that would otherwise show at the first request.

clerkmap.E001  the setting CLERKMAP, the resolver or the instance
clerkmap.E002  the reconciler
clerkmap.E003  the middleware is not there
clerkmap.E004  the middleware stands before Django's own, which would replace request.user
clerkmap.E005  the database
clerkmap.E006  the field or the function that request.user is found by
"""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import Error
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db import connections
from django.db.models import AutoField
from django.utils.module_loading import import_string

from ...errors import ConfigurationError
from . import settings as conf
from .middleware import AuthMiddleware

_PATH = "clerkmap.adapters.django.AuthMiddleware"
_DJANGOS = "django.contrib.auth.middleware.AuthenticationMiddleware"
_VENDORS = ("sqlite", "postgresql")


def check_settings(**_: Any) -> list[Any]:
    """The setting `CLERKMAP`, and what it leads to."""
    try:
        unknown = sorted(set(conf.given()) - set(conf.DEFAULTS))
    except ConfigurationError as error:
        return [_error("E001", str(error))]
    if unknown:
        known = ", ".join(conf.DEFAULTS)
        return [_error("E001", f"CLERKMAP has no {', '.join(map(str, unknown))}", f"It has {known}.")]
    found = _check_database()
    if found:
        return found
    try:
        conf.authenticator()
    except (ConfigurationError, TypeError) as error:
        found.append(_error("E001", str(error), "Name a RESOLVER, or set CLERK_PUBLISHABLE_KEY."))
    if not found and (conf.option("RECONCILER") is not None or conf.option("RESOLVER") is None):
        try:
            conf.reconciler()
        except ConfigurationError as error:
            found.append(_error("E002", str(error)))
    return found


def check_middleware(**_: Any) -> list[Any]:
    """That it is there, and at its place."""
    ours = [place for place, path in enumerate(settings.MIDDLEWARE) if _is_ours(path)]
    if not ours:
        return [_error("E003", "nobody looks who is calling", f"Add {_PATH!r} to MIDDLEWARE.")]
    wants_user = conf.option("USER_FIELD") is not None or conf.option("USER_FUNCTION") is not None
    if wants_user and _DJANGOS in settings.MIDDLEWARE[ours[0] :]:
        return [_error("E004", f"{_DJANGOS} replaces request.user", f"Let {_PATH!r} come after it.")]
    return []


def check_user(**_: Any) -> list[Any]:
    """That the link to AUTH_USER_MODEL can be one."""
    name, function = conf.option("USER_FIELD"), conf.option("USER_FUNCTION")
    if name is None and function is None:
        return []
    if name is not None and function is not None:
        return [_error("E006", "USER_FIELD and USER_FUNCTION are two ways to the same user", "Choose one.")]
    try:
        if not apps.is_installed("django.contrib.auth"):
            return [_error("E006", "request.user needs 'django.contrib.auth' in INSTALLED_APPS")]
        if function is not None:
            conf.user_function()
        field = get_user_model()._meta.get_field(name) if function is None else None
        if isinstance(field, AutoField):  # it counts from 1 as clerkmap does, and somebody else is there already
            return [
                _error("E006", f"{name!r} numbers the users of Django's own", "Take a field that nobody else fills.")
            ]
        if field is not None and not field.unique:
            hint = "Otherwise two first requests would make two users."
            return [_error("E006", f"the field {name!r} of {settings.AUTH_USER_MODEL} is not unique", hint)]
    except (ConfigurationError, ImproperlyConfigured) as error:
        return [_error("E006", str(error))]
    except (FieldDoesNotExist, AttributeError):
        return [_error("E006", f"{settings.AUTH_USER_MODEL} has no field {name!r} of its own")]
    return []


def _check_database() -> list[Any]:
    if conf.option("RESOLVER") is not None:
        return []
    alias = conf.database()
    if alias not in connections:
        return [_error("E005", f"DATABASES has no {alias!r}")]
    vendor = connections[alias].vendor
    if vendor not in _VENDORS:
        hint = "Name another one of DATABASES as CLERKMAP['DATABASE'], or a RESOLVER of your own."
        return [_error("E005", f"clerkmap's tables can be in SQLite and PostgreSQL, not in {vendor}", hint)]
    if vendor == "sqlite" and conf.option("ID_TYPE") == "uuid":
        return [_error("E005", "SQLite has no uuid", "Choose the ID_TYPE text or bigint.")]
    return []


def _is_ours(path: Any) -> bool:
    try:
        found = import_string(path)
    except ImportError:  # Django says so itself
        return False
    return isinstance(found, type) and issubclass(found, AuthMiddleware)


def _error(number: str, text: str, hint: str | None = None) -> Any:
    return Error(f"clerkmap: {text}", hint=hint, id=f"clerkmap.{number}")
