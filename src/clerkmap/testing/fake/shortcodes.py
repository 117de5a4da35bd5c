"""Claims that the dashboard lets one add to every session token: `{"userId": "{{user.public_metadata.userId}}"}`.

A shortcode names something of the person, or the first of several that is there: `{{user.external_id || user.id}}`.
"""

import re
from typing import Any

from ...core.strict_json import fields
from .objects import FakeUser

_CODE = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")


def filled(template: str, user: FakeUser) -> Any:
    """What a claim says of a person: the thing itself where it is one shortcode, otherwise text. None is no claim."""
    whole = _CODE.fullmatch(template)
    if whole is not None:
        return _value(whole[1], user)
    return _CODE.sub(lambda code: str(_value(code[1], user)), template)


def _value(code: str, user: FakeUser) -> Any:
    """The first of the alternatives that is there."""
    person = {
        **{name: getattr(user, name) for name in ("id", "external_id", "username", "first_name", "last_name")},
        "public_metadata": user.public_metadata,
        "primary_email_address": user.email,
    }
    for alternative in code.split("||"):
        value: Any = {"user": person}
        for name in alternative.strip().split("."):
            value = fields(value).get(name)
        if value is not None:
            return value
    return None
