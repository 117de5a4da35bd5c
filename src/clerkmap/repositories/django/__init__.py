"""Django's own connection. Needs clerkmap[django]."""

try:
    import django as django
except ModuleNotFoundError as _error:
    raise ImportError("this repository needs Django: pip install 'clerkmap[django]'") from _error

from .repository import DjangoRepository as DjangoRepository
