"""Django: who is calling is `request.clerk`, and a user of your own model `request.user`, if you ask for it.

    INSTALLED_APPS = [..., "clerkmap.adapters.django"]
    MIDDLEWARE = [..., "clerkmap.adapters.django.AuthMiddleware"]

`docs/django.md` has the rest. Django REST framework's part is in `rest.py`.
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
