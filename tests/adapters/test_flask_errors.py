"""Whose error handlers count in Flask, and what becomes of errors that are nobody's who calls."""

from typing import Any

import pytest
from flask import Blueprint, Flask

from clerkmap import ClerkmapError, Refused, Unavailable
from clerkmap.adapters.flask import Clerk
from clerkmap.auth.result import current_principal
from clerkmap.errors import ConfigurationError, HookFailed, TokenMissing
from flask_world import AWAY, FlaskWorld


@pytest.fixture
def world() -> FlaskWorld:
    return FlaskWorld()


def say(word: str) -> Any:
    return lambda error: (f"{word}: {error.code}", 418)


@pytest.mark.parametrize("kind", [TokenMissing, Refused, ClerkmapError])
@pytest.mark.parametrize("when", ["before", "after"])
def test_your_own_handler_counts(world: FlaskWorld, kind: type[ClerkmapError], when: str) -> None:
    """For the error, for all refusals or for all of clerkmap's; registered before the extension or after it."""
    app = Flask("own")
    if when == "before":
        app.register_error_handler(kind, say("own"))
    Clerk(app, world.resolver)
    if when == "after":
        app.register_error_handler(kind, say("own"))
    app.register_error_handler(Exception, lambda error: ("any", 500))
    app.add_url_rule("/me", "me", world.clerk.signed_in(world.page))
    assert app.test_client().get("/me").text == "own: token_missing"


def test_a_handler_for_everything_takes_only_what_is_left(world: FlaskWorld) -> None:
    """As Flask has it: the more special handler first, and that of a blueprint before the application's."""
    world.app.register_error_handler(Exception, lambda error: ("any", 500))
    world.app.register_error_handler(Unavailable, say("own"))
    special = Blueprint("special", __name__)
    special.register_error_handler(ClerkmapError, say("special"))
    special.add_url_rule("/special", "page", world.clerk.signed_in(world.page))
    world.app.register_blueprint(special)
    client = world.app.test_client()
    assert client.get("/me").get_json()["code"] == "token_missing"
    assert client.get("/special").text == "special: token_missing"
    assert client.get("/nowhere").text == "any"
    world.repository.away = AWAY
    assert client.get("/me", headers=world.bearer()).text == "own: repository_unavailable"


@pytest.mark.parametrize("error", [HookFailed(), RuntimeError("a fault"), ConfigurationError("wrong")])
@pytest.mark.parametrize("path", ["/me", "/ame", "/bfresh/page"])
def test_our_own_faults_are_flasks_500(world: FlaskWorld, error: Exception, path: str) -> None:
    """Nothing is made of them that blames the caller, and the page is not reached."""
    world.repository.away = error
    assert world.app.test_client().get(path, headers=world.bearer()).status_code == 500
    world.app.testing = True
    with pytest.raises(type(error)):
        world.app.test_client().get(path, headers=world.bearer())
    assert world.reached == 0
    with pytest.raises(TokenMissing):
        current_principal()
