"""Databases of Django's for a test: another one of `DATABASES`, with clerkmap's tables as the migrations make them."""

import importlib
import itertools
from typing import Any

from django.db import connections, transaction
from psycopg.conninfo import conninfo_to_dict

import django_site as django_site  # makes Django's settings
from postgres_server import postgres

initial = importlib.import_module("clerkmap.adapters.django.migrations.0001_initial")
numbers = itertools.count()


def add_database(vendor: str, **settings: Any) -> str:
    """Another one of DATABASES."""
    alias = f"made_{next(numbers)}"
    engine = {"sqlite": "sqlite3"}.get(vendor, vendor)
    connections.databases[alias] = {
        **connections.databases["default"],
        "ENGINE": f"django.db.backends.{engine}",
        **settings,
    }
    return alias


def make_tables(alias: str, id_type: str) -> None:
    """As the migrations do it."""
    connection = connections[alias]
    with transaction.atomic(using=alias), connection.cursor() as cursor:
        for statement in initial.statements(connection.vendor, id_type):
            cursor.execute(statement, None)


def add_postgres(schema: str) -> str:
    """One on the tests' PostgreSQL, whose tables are in a schema that is made."""
    said = conninfo_to_dict(postgres())
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    settings = {name: str(said.get(key) or "") for name, key in names.items()}
    alias = add_database("postgresql", OPTIONS={"options": f"-csearch_path={schema}"}, **settings)
    with connections[alias].cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {schema}")
    return alias
