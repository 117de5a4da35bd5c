"""Deliveries as a test takes them in: once each in their order, or by chance lost, twice, late."""

import json

from fake_wires import NOW, App, clerk_of, only, reconciler


def test_deliveries_come_once_each_in_their_order() -> None:
    """And count as taken in, so there are none left."""
    clerk = clerk_of(5)
    deliveries = list(clerk.deliveries())
    assert [delivery.message for delivery in deliveries] == list(clerk.wire.messages.values())
    assert {delivery.type for delivery in deliveries} == {"user.created"}
    assert list(clerk.deliveries()) == []


def test_who_stops_early_finds_the_rest_waiting() -> None:
    """Only what has come counts as taken in."""
    clerk = clerk_of(5)
    next(clerk.deliveries())
    assert len(list(clerk.deliveries())) == 4


def test_a_delivery_that_failed_comes_again_in_its_time() -> None:
    """Said once or twice, it is one failure; the status is kept."""
    clerk = clerk_of()
    (delivery,) = clerk.deliveries()
    delivery.failed(503)
    delivery.failed(500)
    assert [(attempt.at, attempt.status) for attempt in only(clerk).attempts] == [(NOW, 503)]
    assert list(clerk.deliveries()) == []
    clerk.clock.advance(5)
    (again,) = clerk.deliveries()
    assert (again.headers["svix-id"], again.body) == (delivery.headers["svix-id"], delivery.body)
    assert only(clerk).state == "delivered"


def test_of_two_copies_one_that_is_taken_in_is_enough() -> None:
    """Whichever of them failed, and whenever that is said."""
    for failed in (0, 1):
        clerk = clerk_of()
        copies = list(clerk.deliveries(duplicate=1))
        assert len(copies) == 2
        copies[failed].failed()
        assert only(clerk).state == "delivered"
        copies[1 - failed].failed()
        assert (only(clerk).state, len(only(clerk).attempts)) == ("waiting", 2)


def test_chance() -> None:
    """About as many as was asked for are lost, doubled and late; shuffled, they keep no order."""
    clerk = clerk_of(400)
    everything = list(clerk.wire.messages.values())
    got = [delivery.message for delivery in clerk.deliveries(shuffle=True, duplicate=0.25, drop=0.25)]
    lost = [message for message in everything if message.state == "dropped"]
    assert 70 < len(lost) < 130
    assert set(got) == set(everything) - set(lost)
    assert 45 < len(got) - len(set(got)) < 105
    assert got != sorted(got, key=everything.index)

    clerk = clerk_of(100)
    order = list(clerk.wire.messages.values())
    came = [delivery.message for delivery in clerk.deliveries(late=0.2)]
    breaks = [place for place in range(99) if order.index(came[place]) > order.index(came[place + 1])]
    assert len(breaks) == 1, "those in time, then those that are late, each in their order"
    assert 70 < breaks[0] < 95


def test_the_same_seed_makes_the_same_chance() -> None:
    """Ids, bodies, secrets, signatures and the order of arrival, all to the letter."""

    def arrivals(seed: int) -> list[tuple[dict[str, str], bytes]]:
        clerk = clerk_of(50, seed)
        return [(each.headers, each.body) for each in clerk.deliveries(shuffle=True, duplicate=0.3, drop=0.3, late=0.3)]

    assert arrivals(5) == arrivals(5)
    assert arrivals(5) != arrivals(6)


def test_a_watcher_hears_of_every_change() -> None:
    """A page can show the wire as it is."""
    clerk = clerk_of()
    heard: list[str] = []
    clerk.wire.watch(lambda: heard.append([*clerk.wire.messages.values()][-1].state))
    clerk.wire.hold(only(clerk))
    clerk.wire.release(only(clerk))
    clerk.wire.deliver(App())
    clerk.wire.drop(only(clerk))
    clerk.create_user()
    assert heard == ["held", "waiting", "delivered", "dropped", "waiting"]


def test_an_event_of_any_type_can_be_said() -> None:
    """Those that no change here makes are delivered like all others; clerkmap takes them, and does nothing."""
    clerk = clerk_of(0)
    clerk.say("sms.created", {"object": "sms_message", "id": "sms_1"})
    (delivery,) = clerk.deliveries()
    said = json.loads(delivery.body)
    assert (said["type"], said["data"]["id"], said["instance_id"]) == ("sms.created", "sms_1", clerk.instance_id)
    assert reconciler(clerk).receive(delivery.headers, delivery.body).kind == "ignored"


def test_nothing_is_said_in_silence() -> None:
    """As if all of it had been lost, and without changing any id that comes after."""
    quiet, loud = clerk_of(0), clerk_of(0)
    with quiet.silence():
        quiet.create_user()
    loud.create_user()
    assert len(quiet.wire.messages) == 0
    assert quiet.create_user().id == loud.create_user().id


def test_a_message_and_a_delivery_show_nothing_of_what_is_in_them() -> None:
    """Reprs end up in logs."""
    clerk = clerk_of(0)
    clerk.create_user("ada@example.com")
    (delivery,) = clerk.deliveries()
    assert "ada@" not in repr(delivery) + repr(delivery.message)
    assert delivery.headers["svix-signature"] not in repr(delivery)
