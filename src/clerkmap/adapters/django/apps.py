"""The Django app, which registers the system checks."""

from django.apps import AppConfig
from django.core.checks import register

from . import checks


class ClerkmapConfig(AppConfig):
    """clerkmap in a Django project."""

    name: str = "clerkmap.adapters.django"
    label: str = "clerkmap"
    verbose_name: str = "clerkmap"

    def ready(self) -> None:
        register(checks.check_settings)
        register(checks.check_middleware)
        register(checks.check_user)
        register(checks.check_webhooks)
