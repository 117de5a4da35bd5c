"""The wire: what is delivered when, how often, how it is signed, and what is held, lost, sent twice or sent again."""

from collections.abc import Callable

import pytest
from svix.webhooks import Webhook, WebhookVerificationError

from clerkmap import Reconciler, WebhookError
from clerkmap.errors import WebhookOutOfTime, WebhookSignatureInvalid
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import FakeClerk
from clerkmap.testing.fake.webhook_delivery import RETRIES
from fake_wires import DAY, NOW, App, clerk_of, down, only, reconciler


def test_what_fails_is_tried_again_on_clerks_schedule() -> None:
    """At once, after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 10 h, each from the one before: then Clerk gives up."""
    clerk = clerk_of()
    assert clerk.wire.deliver(down) == 1
    for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 36_000):
        clerk.clock.advance(seconds - 1)
        assert clerk.wire.deliver(down) == 0, "one second early"
        clerk.clock.advance(1)
        assert clerk.wire.deliver(down) == 1
    assert only(clerk).state == "failed"


def test_the_times_of_all_attempts() -> None:
    """To the second, as Clerk's deliverer publishes them; the last after 27 hours, 35 minutes and 5 seconds."""
    clerk = clerk_of()
    assert clerk.wire.deliver_all(down) == 8
    message = only(clerk)
    times = [round(attempt.at - NOW, 3) for attempt in message.attempts]
    assert times == [0, 5, 305, 2105, 9305, 27_305, 63_305, 99_305]
    assert times[-1] == 27 * 3600 + 35 * 60 + 5
    assert RETRIES == (5, 300, 1800, 7200, 18_000, 36_000, 36_000)
    assert (message.state, {attempt.status for attempt in message.attempts}) == ("failed", {None})


@pytest.mark.parametrize("status", [None, 100, 301, 302, 304, 400, 401, 404, 429, 500, 503])
def test_anything_but_2xx_is_a_failure(status: int | None) -> None:
    """A redirection too, and no answer."""
    clerk = clerk_of()
    clerk.wire.deliver(App(status))
    message = only(clerk)
    assert (message.state, message.due, message.attempts[0].succeeded) == ("waiting", NOW + 5, False)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_the_end_of_it(status: int) -> None:
    """What was taken in is not sent again."""
    clerk = clerk_of()
    app = App(500, 404, status)
    assert clerk.wire.deliver_all(app) == 3
    assert only(clerk).state == "delivered"
    clerk.clock.advance(10 * DAY)
    assert clerk.wire.due() == []


def test_each_attempt_is_signed_anew_and_says_the_same() -> None:
    """One svix-id and one body; a timestamp and a signature of its own; and each of them verifies."""
    clerk = clerk_of()
    mine = reconciler(clerk)
    kinds: list[str] = []

    def send(headers: dict[str, str], body: bytes) -> int:
        kinds.append(mine.receive(headers, body).kind)
        return app(headers, body) or 0

    app = App(500, 500, 500, 204)
    clerk.wire.deliver_all(send)
    assert kinds == ["applied", "nothing_new", "nothing_new", "nothing_new"]
    assert len({body for _, body in app.got}) == 1
    assert {headers["svix-id"] for headers, _ in app.got} == {only(clerk).id}
    assert [int(headers["svix-timestamp"]) - NOW for headers, _ in app.got] == [0, 5, 305, 2105]
    assert len({headers["svix-signature"] for headers, _ in app.got}) == 4
    with pytest.raises(WebhookOutOfTime):
        mine.receive(*app.got[0])


def test_the_official_library_accepts_them() -> None:
    """Svix's own verifier, with the secret that Clerk's dashboard would show."""
    clerk = FakeClerk(seed=5)  # its verifier knows no other clock than the real one
    clerk.create_user(first_name="Zoë")
    clerk.rotate_webhook_secret()
    verifiers = [Webhook(secret) for secret in clerk.wire.secrets]
    deliveries = list(clerk.deliveries())
    assert (len(verifiers), len(deliveries)) == (2, 1)
    for delivery in deliveries:
        for verifier in verifiers:
            verifier.verify(delivery.body, delivery.headers)  # it raises where it does not accept
        with pytest.raises(WebhookVerificationError):
            verifiers[0].verify(delivery.body + b" ", delivery.headers)


def test_of_another_clerk_nothing_is_accepted() -> None:
    """Each seed has a secret of its own."""
    here, there = clerk_of(), clerk_of(seed=6)
    (delivery,) = here.deliveries()
    with pytest.raises(WebhookSignatureInvalid):
        reconciler(there).receive(delivery.headers, delivery.body)


def test_a_secret_that_is_replaced_signs_for_a_day_beside_the_new_one() -> None:
    """Who has either of them takes deliveries in; after a day, only who has the new one."""
    clerk = clerk_of()
    before = reconciler(clerk)
    old = clerk.webhook_secret
    new = clerk.rotate_webhook_secret()
    assert (clerk.webhook_secret, clerk.wire.secrets) == (new, [new, old])
    assert clerk.environment()["CLERK_WEBHOOK_SIGNING_SECRET"] == f"{new},{old}"
    knows_new = Reconciler(clerk.make_instance(webhook_secrets=[new]), MemoryRepository(), clock=clerk.clock)
    headers = clerk.wire.sign(only(clerk))
    assert headers["svix-signature"].count("v1,") == 2
    for each in (before, knows_new, reconciler(clerk)):
        assert each.receive(headers, only(clerk).body).kind == "applied"

    clerk.clock.advance(DAY)
    headers = clerk.wire.sign(only(clerk))
    assert headers["svix-signature"].count("v1,") == 1
    assert knows_new.receive(headers, only(clerk).body).kind == "nothing_new"
    assert reconciler(clerk).receive(headers, only(clerk).body).kind == "applied"
    with pytest.raises(WebhookError):
        before.receive(headers, only(clerk).body)


def test_a_secret_can_be_replaced_at_once_and_again() -> None:
    """How long the old one lasts can be said; a third makes no older one last longer."""
    clerk = clerk_of()
    first = clerk.webhook_secret
    second = clerk.rotate_webhook_secret(keep_for=60)
    third = clerk.rotate_webhook_secret()
    assert clerk.wire.secrets == [third, second, first]
    clerk.clock.advance(60)
    assert clerk.wire.secrets == [third, second]
    fourth = clerk.rotate_webhook_secret(keep_for=0)
    assert clerk.wire.secrets == [fourth]


def test_what_is_held_waits_until_it_is_released() -> None:
    """However late that is; and then it comes at once."""
    clerk = clerk_of()
    app = App()
    clerk.wire.hold(only(clerk))
    assert clerk.wire.deliver_all(app) == 0
    clerk.clock.advance(30 * DAY)
    clerk.wire.release(only(clerk))
    assert clerk.wire.deliver(app) == 1
    assert only(clerk).state == "delivered"


def test_what_is_dropped_never_comes_unless_it_is_sent_again() -> None:
    """As when an endpoint was not there: the dashboard can replay what it missed."""
    clerk = clerk_of()
    app = App()
    clerk.wire.drop(only(clerk))
    assert clerk.wire.deliver_all(app) == 0
    clerk.wire.release(only(clerk))
    assert clerk.wire.deliver_all(app) == 1


def test_what_is_delayed_comes_later_and_others_overtake_it() -> None:
    """By so many seconds from now."""
    clerk = clerk_of(2)
    first, second = clerk.wire.messages.values()
    clerk.wire.delay(first, 60)
    assert clerk.wire.due() == [second]
    clerk.clock.advance(59)
    assert clerk.wire.due() == [second]
    clerk.clock.advance(1)
    assert clerk.wire.due() == [second, first]


def test_a_replay_is_attempted_once() -> None:
    """What was given up or taken in before is sent again with its own id, and not tried on and on."""
    for first, last in ((down, "failed"), (App(200), "delivered")):
        clerk = clerk_of()
        clerk.wire.deliver_all(first)
        made = len(only(clerk).attempts)
        clerk.wire.release(only(clerk))
        assert clerk.wire.deliver_all(down) == 1
        assert (len(only(clerk).attempts), only(clerk).state) == (made + 1, last)
        clerk.wire.release(only(clerk))
        assert clerk.wire.deliver_all(App()) == 1
        assert only(clerk).state == "delivered"


def test_released_in_the_middle_of_its_retries_it_goes_on_from_there() -> None:
    """An attempt by hand is one of the eight."""
    clerk = clerk_of()
    clerk.wire.deliver(down)
    clerk.wire.hold(only(clerk))
    clerk.wire.release(only(clerk))
    clerk.wire.deliver(down)
    assert only(clerk).due == NOW + 300
    assert clerk.wire.deliver_all(down) == 6


@pytest.mark.parametrize("decide", ["hold", "drop"])
def test_what_is_decided_while_it_is_attempted_stands(decide: str) -> None:
    """A failure does not take it back; that it was taken in does."""

    def send_and(status: int) -> Callable[[dict[str, str], bytes], int]:
        def send(headers: dict[str, str], body: bytes) -> int:
            getattr(clerk.wire, decide)(only(clerk))
            return status

        return send

    clerk = clerk_of()
    clerk.wire.deliver(send_and(500))
    assert only(clerk).state == {"hold": "held", "drop": "dropped"}[decide]
    clerk.wire.release(only(clerk))
    clerk.wire.deliver(send_and(200))
    assert only(clerk).state == "delivered"
