"""System checks for `manage.py check`. They find mistakes that would otherwise fail the first request.

clerkmap.E001  the setting CLERKMAP, the resolver or the instance
clerkmap.E002  the reconciler
clerkmap.E003  the middleware is missing
clerkmap.E004  the middleware is before Django's, which would replace request.user
clerkmap.E005  the database
clerkmap.E006  the field or the function that finds request.user
clerkmap.E007  the webhook view would refuse every delivery
"""

from collections.abc import Iterable, Iterator
from inspect import unwrap
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import Error
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db import connections
from django.db.models import AutoField
from django.urls import get_resolver
from django.utils.module_loading import import_string

from ...errors import ConfigurationError
from . import settings as conf
from .middleware import AuthMiddleware
from .webhooks import awebhook, webhook

_PATH = "clerkmap.adapters.django.AuthMiddleware"
_DJANGOS = "django.contrib.auth.middleware.AuthenticationMiddleware"
_VENDORS = ("sqlite", "postgresql")


def check_settings(**_: Any) -> list[Any]:
    """Check the setting `CLERKMAP` and the objects that it configures."""
    try:
        unknown = sorted(set(conf.given()) - set(conf.DEFAULTS))
    except ConfigurationError as error:
        return [_error("E001", str(error))]
    if unknown:
        known = ", ".join(conf.DEFAULTS)
        return [_error("E001", f"CLERKMAP has no option {', '.join(map(str, unknown))}", f"The options are {known}.")]
    found = _check_database()
    if found:
        return found
    try:
        conf.authenticator()
    except (ConfigurationError, TypeError) as error:
        found.append(_error("E001", str(error), "Set CLERKMAP['RESOLVER'] or CLERK_PUBLISHABLE_KEY."))
    if not found and (conf.option("RECONCILER") is not None or conf.option("RESOLVER") is None):
        try:
            conf.reconciler()
        except ConfigurationError as error:
            found.append(_error("E002", str(error)))
    return found


def check_middleware(**_: Any) -> list[Any]:
    """Check that the middleware is installed, and after Django's."""
    ours = [place for place, path in enumerate(settings.MIDDLEWARE) if _is_ours(path)]
    if not ours:
        return [_error("E003", "AuthMiddleware is not installed", f"Add {_PATH!r} to MIDDLEWARE.")]
    wants_user = conf.option("USER_FIELD") is not None or conf.option("USER_FUNCTION") is not None
    if wants_user and _DJANGOS in settings.MIDDLEWARE[ours[0] :]:
        return [_error("E004", f"{_DJANGOS} replaces request.user", f"Put {_PATH!r} after it.")]
    return []


def check_webhooks(**_: Any) -> list[Any]:
    """Check that the webhook views in the URLs can receive deliveries."""
    if not getattr(settings, "ROOT_URLCONF", None) or check_settings():
        return []
    used = set(_views(get_resolver().url_patterns))
    found: list[Any] = []
    for view in (webhook, awebhook):
        try:
            if unwrap(view) in used:
                conf.reconciler().check_receives(synchronous=view is webhook)
        except ConfigurationError as error:
            found.append(_error("E007", f"the view {view.__name__} would refuse every delivery: {error}"))
    return found


def _views(patterns: Iterable[Any]) -> Iterator[Any]:
    for pattern in patterns:
        if hasattr(pattern, "url_patterns"):
            yield from _views(pattern.url_patterns)
        else:
            yield unwrap(pattern.callback)


def check_user(**_: Any) -> list[Any]:
    """Check the field or the function that finds the user of AUTH_USER_MODEL."""
    name, function = conf.option("USER_FIELD"), conf.option("USER_FUNCTION")
    if name is None and function is None:
        return []
    if name is not None and function is not None:
        return [_error("E006", "USER_FIELD and USER_FUNCTION are both set", "Set only one of them.")]
    try:
        if not apps.is_installed("django.contrib.auth"):
            return [_error("E006", "request.user needs 'django.contrib.auth' in INSTALLED_APPS")]
        if function is not None:
            conf.user_function()
        field = get_user_model()._meta.get_field(name) if function is None else None
        if isinstance(field, AutoField):  # it counts from 1, like clerkmap, so a number may be another user's
            return [_error("E006", f"{name!r} holds Django's own ids", "Use a field that only clerkmap fills.")]
        if field is not None and not field.unique:
            hint = "Otherwise two concurrent first requests would create two users."
            return [_error("E006", f"the field {name!r} of {settings.AUTH_USER_MODEL} is not unique", hint)]
    except (ConfigurationError, ImproperlyConfigured) as error:
        return [_error("E006", str(error))]
    except (FieldDoesNotExist, AttributeError):
        return [_error("E006", f"{settings.AUTH_USER_MODEL} has no field {name!r}")]
    return []


def _check_database() -> list[Any]:
    if conf.option("RESOLVER") is not None:
        return []
    alias = conf.database()
    if alias not in connections:
        return [_error("E005", f"DATABASES has no {alias!r}")]
    vendor = connections[alias].vendor
    if vendor not in _VENDORS:
        hint = "Set CLERKMAP['DATABASE'] to another database, or CLERKMAP['RESOLVER']."
        return [_error("E005", f"clerkmap supports SQLite and PostgreSQL, not {vendor}", hint)]
    if vendor == "sqlite" and conf.option("ID_TYPE") == "uuid":
        return [_error("E005", "SQLite has no uuid column type", "Set CLERKMAP['ID_TYPE'] to 'text' or 'bigint'.")]
    return []


def _is_ours(path: Any) -> bool:
    try:
        found = import_string(path)
    except ImportError:  # Django reports it
        return False
    return isinstance(found, type) and issubclass(found, AuthMiddleware)


def _error(number: str, text: str, hint: str | None = None) -> Any:
    return Error(f"clerkmap: {text}", hint=hint, id=f"clerkmap.{number}")
