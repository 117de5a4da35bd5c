"""What goes wrong on the way from Clerk to the app, by hand and by chance, and that it ends right all the same."""

from local_process import Local, kinds, messages, rows
from local_process import local as local
from local_process import process as process


def test_what_is_held_back_is_delivered_in_the_order_that_was_chosen(local: Local) -> None:
    """Held at once, moved by hand, then attempted from first to last."""
    local.do("chaos", hold_all=True)
    for name in ("Ada", "Grace", "Alan"):
        local.sign_up(name)
    now = local.state()
    assert [each["state"] for each in now["wire"]["messages"]] == ["held"] * 3
    ids = {each["about"]: each["id"] for each in now["wire"]["messages"]}
    local.do("reorder", message=ids["Alan"], before=ids["Ada"])
    local.do("reorder", message=ids["Ada"], before=None)
    local.do("reorder", message=ids["Ada"], before=ids["Ada"])
    assert [each["about"] for each in local.state()["wire"]["messages"]] == ["Ada", "Grace", "Alan"]
    assert local.refused("reorder", message=ids["Ada"], before="msg_x") == (404, "resource_not_found")
    assert local.do("deliver") == {"released": 3}
    now = local.settle()
    ways = list(reversed(now["wire"]["messages"]))
    tried = sorted(ways, key=lambda each: int(each["attempts"][0]["at"]))
    assert [each["about"] for each in tried] == ["Alan", "Grace", "Ada"]
    assert {each["state"] for each in tried} == {"delivered"}


def test_a_copy_of_what_is_held_back_can_be_sent(local: Local) -> None:
    """It stays held, and when it is released its content is known already."""
    local.do("chaos", hold_all=True)
    local.sign_up()
    (event,) = local.state()["wire"]["messages"]
    local.do("duplicate", message=event["id"])
    (event,) = local.state()["wire"]["messages"]
    assert (event["state"], kinds(event)) == ("held", ["applied"])
    local.do("release", message=event["id"])
    assert kinds(local.settle()["wire"]["messages"][0]) == ["applied", "nothing_new"]


def test_what_is_dropped_never_comes_unless_it_is_sent_after_all(local: Local) -> None:
    """By hand and by chance."""
    local.do("chaos", drop=1)
    local.sign_up("Ada")
    local.do("chaos", drop=0, hold_all=True)
    local.sign_up("Grace")
    first, second = local.state()["wire"]["messages"][::-1]
    assert (first["state"], second["state"]) == ("dropped", "held")
    local.do("drop", message=second["id"])
    now = local.settle()
    assert [each["state"] for each in now["wire"]["messages"]] == ["dropped", "dropped"]
    assert rows(now, "users") == []
    local.do("release", message=first["id"])
    local.wait(lambda now: len(rows(now, "users")) == 1)


def test_what_comes_twice_changes_nothing_the_second_time(local: Local) -> None:
    """Two attempts of one event, of which one is applied."""
    local.do("chaos", duplicate=1)
    local.sign_up()
    now = local.wait(lambda now: len(now["wire"]["messages"][0]["outcomes"]) == 2)
    assert kinds(now["wire"]["messages"][0]) == ["applied", "nothing_new"]


def test_what_is_late_comes_when_the_clock_says_so(local: Local) -> None:
    """Clerk's clock, which is moved on."""
    local.do("chaos", delay=1, delay_seconds=1000)
    local.sign_up()
    (event,) = local.state()["wire"]["messages"]
    assert event["state"] == "waiting"
    assert 900_000 < event["due"] - event["at"] <= 1_001_000
    local.do("advance", seconds=500)
    assert local.state()["wire"]["messages"][0]["attempts"] == []
    local.do("advance", seconds=501)
    assert kinds(local.settle()["wire"]["messages"][0]) == ["applied"]


def test_an_app_that_is_down_is_tried_again_on_clerks_schedule(local: Local) -> None:
    """Nothing is lost meanwhile, and after 27 hours it is given up."""
    local.do("chaos", offline=True)
    local.sign_up("Ada")
    local.sign_up("Grace")

    def tried(times: int) -> None:
        local.wait(lambda now: all(len(each["attempts"]) == times for each in now["wire"]["messages"]))

    tried(1)
    for times, seconds in enumerate((6, 301, 1801), 2):
        local.do("advance", seconds=seconds)
        tried(times)
    now = local.state()
    assert {each["status"] for message in now["wire"]["messages"] for each in message["attempts"]} == {None}
    assert rows(now, "users") == []
    local.do("chaos", offline=False)
    (grace, _ada) = now["wire"]["messages"]
    local.do("hold", message=grace["id"])
    local.do("advance", seconds=7201)
    now = local.wait(lambda now: len(rows(now, "users")) == 1)
    local.do("chaos", offline=True)
    local.do("release", message=grace["id"])
    for seconds in (0, 7201, 18_001, 36_001, 36_001, 36_001):
        local.do("advance", seconds=seconds)
        local.wait(lambda now: all((each["due"] or 1e15) > now["clerk"]["clock"] for each in now["wire"]["messages"]))
    now = local.settle()
    assert [(each["about"], each["state"]) for each in now["wire"]["messages"]] == [
        ("Grace", "failed"),
        ("Ada", "delivered"),
    ]


def test_any_order_ends_in_the_same_rows(local: Local) -> None:
    """Shuffled, sent twice and late: the database says what Clerk says."""
    local.do("chaos", shuffle=True, duplicate=0.5, delay=0.3, delay_seconds=100)
    ada = local.sign_up("Ada")
    acme = local.do("create_organization", name="Acme", created_by=ada)["organization"]
    for number in range(8):
        local.do("edit_user", user=ada, last_name=f"the {number}th")
        local.do("edit_organization", organization=acme, name=f"Acme {number}")
    local.do("advance", seconds=200)
    now = local.settle()
    assert rows(now, "identities")[0]["last_name"] == "the 7th"
    assert rows(now, "organizations")[0]["name"] == "Acme 7"
    assert len(rows(now, "memberships")) == 1
    assert {"applied", "nothing_new"} <= {kind for each in now["wire"]["messages"] for kind in kinds(each)}


def test_a_delivery_from_outside_is_shown_with_what_came_of_it(local: Local) -> None:
    """What is posted to the demo app by hand is refused, and told with its reason."""
    local.do("chaos", hold_all=True)
    local.sign_up()
    (event,) = local.state()["wire"]["messages"]
    headers = {"svix-id": event["id"], "svix-timestamp": str(event["at"] // 1000), "svix-signature": "v1,AAAA"}
    answer = local.client.post("/demo/webhooks", headers=headers, json=event["body"])
    assert answer.status_code == 400
    (event,) = local.state()["wire"]["messages"]
    assert (kinds(event), event["outcomes"][0]["reason"]) == (["refused"], "the webhook's signature does not match")
    assert local.client.post("/demo/webhooks", json={}).status_code == 400


def test_the_page_shows_at_most_two_hundred_events_the_newest_first(local: Local) -> None:
    """However many there were, those that wait for somebody are not forgotten."""
    local.do("chaos", hold_all=True)
    ada = local.sign_up("Ada")
    local.do("chaos", hold_all=False, drop=1)
    for number in range(210):
        local.do("set_metadata", user=ada, public_metadata={"number": number})
    now = local.state()
    assert len(now["wire"]["messages"]) == 200
    numbers = [each["body"]["data"]["public_metadata"]["number"] for each in now["wire"]["messages"]]
    assert numbers == list(range(209, 9, -1))
    assert messages(now, "user.created") == []
    assert local.do("deliver") == {"released": 1}
    local.wait(lambda now: len(rows(now, "users")) == 1)
