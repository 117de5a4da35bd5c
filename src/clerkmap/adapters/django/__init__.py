"""Authentication for Django, with `request.clerk` and, if configured, your own model's user in `request.user`.

    INSTALLED_APPS = [..., "clerkmap.adapters.django"]
    MIDDLEWARE = [..., "clerkmap.adapters.django.AuthMiddleware"]

See `docs/django.md`. The classes for Django REST framework are in `rest.py`.
"""

try:
    import django as django
except ModuleNotFoundError as _error:
    raise ImportError("this adapter needs Django: pip install 'clerkmap[django]'") from _error

from .decorators import RequireMixin as RequireMixin
from .decorators import require as require
from .middleware import AuthMiddleware as AuthMiddleware
from .webhooks import awebhook as awebhook
from .webhooks import webhook as webhook

__all__ = ["AuthMiddleware", "RequireMixin", "awebhook", "require", "webhook"]
