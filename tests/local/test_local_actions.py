"""Each action of the page does what its button says, to Clerk, on the wire and in the database."""

from pathlib import Path

import pytest

from clerkmap.local import actions, wire_actions
from clerkmap.local.requests import ACTIONS
from local_process import Local, kinds, messages, rows
from local_process import local as local
from local_process import process as process


def test_the_table_has_exactly_the_actions_that_are_promised() -> None:
    """What the page can ask for, and nothing else."""
    assert actions.__doc__
    assert wire_actions.__doc__
    people = "sign_up edit_user ban unban delete_user set_metadata sign_in look end_session revoke_session rotate_key"
    organizations = "create_organization edit_organization delete_organization add_member remove_member"
    invitations = "invite accept_invitation revoke_invitation"
    wire = "hold release drop duplicate reorder deliver chaos advance reset"
    assert sorted(ACTIONS) == sorted(f"{people} {organizations} {invitations} {wire}".split())


def test_who_signs_up_becomes_a_row(local: Local) -> None:
    """The event is delivered at once, and the page is told what it changed, field by field."""
    user = local.do("sign_up", email="ada@example.com", first_name="Ada", last_name="")["user"]
    now = local.settle()
    (person,) = now["clerk"]["users"]
    assert (person["id"], person["name"], person["email"], person["verified"]) == (user, "Ada", "ada@example.com", True)
    (identity,) = rows(now, "identities")
    assert (identity["clerk_id"], identity["email"], identity["last_name"]) == (user, "ada@example.com", None)
    (event,) = now["wire"]["messages"]
    assert (event["type"], event["about"], event["state"]) == ("user.created", "Ada", "delivered")
    assert [each["status"] for each in event["attempts"]] == [200]
    (outcome,) = event["outcomes"]
    assert (outcome["to"], outcome["kind"], outcome["reason"]) == ("demo", "applied", None)
    (change,) = outcome["changes"]
    assert (change["what"], change["how"], change["id"]) == ("user", "made", identity["user_id"])
    assert {"name": "email", "before": None, "after": "ada@example.com"} in change["fields"]


def test_who_is_edited_is_told_of_once(local: Local) -> None:
    """Name and address change in one event, and the old address is free again."""
    user = local.sign_up("Ada")
    local.do("edit_user", user=user, first_name="Augusta", last_name="King", email="augusta@example.com")
    now = local.settle()
    (event,) = messages(now, "user.updated")
    fields = {each["name"]: (each["before"], each["after"]) for each in event["outcomes"][0]["changes"][0]["fields"]}
    assert fields["email"] == ("ada@example.com", "augusta@example.com")
    assert fields["first_name"] == ("Ada", "Augusta")
    local.do("edit_user", user=user, last_name="")
    local.sign_up("Ada")
    local.wait(lambda now: [each["last_name"] for each in rows(now, "identities")] == [None, None])
    assert local.refused("sign_up", email="ADA@example.com") == (422, "form_identifier_exists")
    assert local.refused("edit_user", user=user, email="ada@example.com") == (422, "form_identifier_exists")
    assert local.refused("sign_up", email="Ada") == (422, "form_param_format_invalid")
    assert local.refused("sign_up", email="ada@lovelace@example.com") == (422, "form_param_format_invalid")


def test_who_is_banned_is_locked_out_until_they_are_not(local: Local) -> None:
    """Their token is refused while it is still good, and their sessions are over."""
    user = local.sign_up()
    token = local.do("sign_in", user=user)["token"]
    assert local.do("look", token=token)["status"] == 200
    local.do("ban", user=user)
    local.settle()
    found = local.do("look", token=token)
    assert (found["status"], found["error"]["code"], found["principal"]) == (403, "user_banned", None)
    assert local.refused("sign_in", user=user) == (403, "user_banned")
    local.do("unban", user=user)
    local.settle()
    assert local.do("look", token=token)["error"]["code"] == "session_ended"
    assert local.do("look", token=local.do("sign_in", user=user)["token"])["status"] == 200


def test_who_is_deleted_stays_deleted(local: Local) -> None:
    """The row is a tombstone, and an old event that comes again does not bring it back."""
    user = local.sign_up()
    token = local.do("sign_in", user=user)["token"]
    local.do("delete_user", user=user)
    now = local.settle()
    assert now["clerk"]["users"] == []
    assert [each["about"] for each in messages(now, "user.deleted")] == ["Ada"]
    assert rows(now, "users")[0]["deleted_at"]
    (created,) = messages(now, "user.created")
    assert local.do("duplicate", message=created["id"]) == {"status": 200}
    now = local.state()
    assert kinds(messages(now, "user.created")[0]) == ["applied", "nothing_new"]
    assert rows(now, "identities")[0]["email"] is None
    assert local.do("look", token=token)["error"]["code"] == "user_deleted"
    assert local.refused("delete_user", user=user) == (404, "resource_not_found")


def test_organizations_with_all_that_happens_in_them(local: Local) -> None:
    """Made, renamed, joined, left, with somebody invited, and deleted."""
    ada, grace = local.sign_up("Ada"), local.sign_up("Grace")
    acme = local.do("create_organization", name=" Acme ", created_by=ada)["organization"]
    local.do("add_member", organization=acme, user=grace, role="org:member")
    local.do("add_member", organization=acme, user=grace, role="org:admin")
    local.do("edit_organization", organization=acme, name="Acme Ltd")
    local.do("set_metadata", organization=acme, public_metadata={"plan": {"name": "pro", "seats": 5}})
    local.do("set_metadata", organization=acme, public_metadata={"plan": {"seats": None}})
    now = local.settle()
    (organization,) = now["clerk"]["organizations"]
    assert (organization["name"], organization["slug"]) == ("Acme Ltd", "acme")
    assert [(each["user"], each["name"], each["role"]) for each in organization["members"]] == [
        (ada, "Ada", "org:admin"),
        (grace, "Grace", "org:admin"),
    ]
    (row,) = rows(now, "organizations")
    assert (row["name"], row["public_metadata"]) == ("Acme Ltd", '{"plan":{"name":"pro"}}')
    assert messages(now, "organizationMembership.created")[0]["about"] == "Grace in Acme"

    found = local.do("look", token=local.do("sign_in", user=grace, organization=acme)["token"])
    assert found["principal"]["organization"]["name"] == "Acme Ltd"
    assert found["principal"]["role"] == found["answer"]["role"] == "org:admin"

    local.do("remove_member", organization=acme, user=grace)
    assert local.refused("remove_member", organization=acme, user=grace) == (404, "resource_not_found")
    assert local.refused("sign_in", user=grace, organization=acme) == (403, "not_a_member_in_organization")
    local.do("delete_organization", organization=acme)
    now = local.settle()
    assert now["clerk"]["organizations"] == []
    assert rows(now, "organizations")[0]["clerk_id"] is None


def test_invitations_are_accepted_or_revoked(local: Local) -> None:
    """Who accepts is there afterwards, and a member."""
    acme = local.do("create_organization", name="Acme", created_by=local.sign_up())["organization"]
    first = local.do("invite", organization=acme, email="grace@example.com", role="org:admin")["invitation"]
    second = local.do("invite", organization=acme, email="alan@example.com")["invitation"]
    grace = local.do("accept_invitation", invitation=first)["user"]
    local.do("revoke_invitation", invitation=second)
    now = local.settle()
    (organization,) = now["clerk"]["organizations"]
    assert [(each["email"], each["status"]) for each in organization["invitations"]] == [
        ("grace@example.com", "accepted"),
        ("alan@example.com", "revoked"),
    ]
    assert organization["members"][-1] == {"user": grace, "name": "grace@example.com", "role": "org:admin"}
    assert messages(now, "organizationInvitation.created")[0]["outcomes"][0]["kind"] == "ignored"
    assert local.refused("accept_invitation", invitation=second)[0] == 400
    assert local.refused("invite", organization=acme, email=" ") == (422, "form_param_format_invalid")
    assert local.refused("invite", organization=acme, email="x@example.com", role="org:king")[0] == 404


def test_sessions_end_and_are_revoked(local: Local) -> None:
    """A token of a session that is over is refused."""
    user, now = local.sign_up(), local.state()
    for action, event in (("end_session", "session.ended"), ("revoke_session", "session.revoked")):
        signed_in = local.do("sign_in", user=user)
        local.do(action, session=signed_in["session"])
        now = local.settle()
        assert messages(now, event)[0]["about"] == "Ada"
        assert local.do("look", token=signed_in["token"])["error"]["code"] == "session_ended"
    assert [each["status"] for each in now["clerk"]["users"][0]["sessions"]] == ["ended", "revoked"]


def test_a_token_is_looked_at_check_by_check(local: Local) -> None:
    """Every check is ticked or crossed, whatever is given for a token, and the demo app says the same."""
    token = local.do("sign_in", user=local.sign_up())["token"]
    found = local.do("look", token=token)
    assert found["header"]["alg"] == "RS256"
    assert found["payload"]["v"] == 2
    assert {each["passed"] for each in found["checks"]} == {True}
    local.do("rotate_key")
    found = local.do("look", token=token)
    assert (found["error"]["code"], found["status"]) == ("token_signature_invalid", 401)
    assert [each["passed"] for each in found["checks"]].count(False) == 1
    assert found["checks"][-1]["passed"] is None
    for odd in ("", " ", "é", "a.b.c", "\u0000", token + "\n", "x" * 60_000):
        found = local.do("look", token=odd)
        assert found["error"]["code"].startswith("token_"), odd
        assert found["status"] in (400, 401), odd
    user = local.state()["clerk"]["users"][0]["id"]
    assert local.do("look", token=local.do("sign_in", user=user)["token"])["status"] == 200


def test_a_token_makes_the_row_where_no_event_has_come(local: Local) -> None:
    """No webhook is needed; when it comes it fills in the row, which keeps its id."""
    local.do("chaos", hold_all=True)
    user = local.sign_up()
    found = local.do("look", token=local.do("sign_in", user=user)["token"])
    now = local.state()
    (row,) = rows(now, "users")
    assert row["id"] == found["principal"]["user"]["id"]
    assert rows(now, "identities")[0]["email"] is None
    (event,) = messages(now, "user.created")
    local.do("release", message=event["id"])
    now = local.wait(lambda now: messages(now, "user.created")[0]["state"] == "delivered")
    assert rows(now, "identities")[0]["email"] == "ada@example.com"
    assert [each["id"] for each in rows(now, "users")] == [row["id"]]


def test_reset_forgets_all_but_the_keys(local: Local) -> None:
    """An app that was started with the environment goes on working, and no id comes a second time."""
    before = local.state()["clerk"]
    user = local.sign_up()
    token = local.do("sign_in", user=user)["token"]
    local.do("chaos", hold_all=True)
    local.do("advance", seconds=3600)
    local.settle()
    local.do("reset")
    now = local.state()
    assert now["clerk"]["environment"] == before["environment"]
    assert (now["clerk"]["users"], now["clerk"]["organizations"], now["wire"]["messages"]) == ([], [], [])
    assert now["clerk"]["clock"] < before["clock"] + 3_000_000
    assert not any(now["wire"]["chaos"][name] for name in ("hold_all", "shuffle", "drop", "offline"))
    assert all(table["count"] == 0 for table in now["database"]["tables"])
    assert local.sign_up() != user
    assert (
        local.do("look", token=token)["principal"]["user"]["clerk_id"] == user
    )  # nobody remembers that they were here


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"action": "dance"}, 404, "action_unknown"),
        ({}, 404, "action_unknown"),
        ({"action": 7}, 404, "action_unknown"),
        ({"action": "__init__"}, 404, "action_unknown"),
        ({"action": "ban"}, 422, "form_param_missing"),
        ({"action": "ban", "user": "user_x"}, 404, "resource_not_found"),
        ({"action": "ban", "user": ["user_x"]}, 422, "form_param_type_invalid"),
        ({"action": "ban", "user": "user_x", "box": 1}, 422, "form_param_unknown"),
        ({"action": "ban", "user": "user_x", "return": 1}, 422, "form_param_unknown"),
        ({"action": "sign_up", "emil": "x@example.com"}, 422, "form_param_unknown"),
        ({"action": "create_organization", "name": " "}, 422, "form_param_nil"),
        ({"action": "create_organization", "name": "Acme", "created_by": "user_x"}, 404, "resource_not_found"),
        ({"action": "set_metadata", "public_metadata": {}}, 422, "form_param_missing"),
        ({"action": "set_metadata", "public_metadata": [], "user": "user_x"}, 422, "form_param_type_invalid"),
        ({"action": "hold", "message": "msg_x"}, 404, "resource_not_found"),
        ({"action": "end_session", "session": "sess_x"}, 404, "resource_not_found"),
        ({"action": "chaos", "drop": 2}, 422, "form_param_value_invalid"),
        ({"action": "chaos", "drop": True}, 422, "form_param_type_invalid"),
        ({"action": "chaos", "delay_seconds": -1}, 422, "form_param_value_invalid"),
        ({"action": "advance", "seconds": -1}, 422, "form_param_value_invalid"),
        ({"action": "advance", "seconds": 1e12}, 422, "form_param_value_invalid"),
        ({"action": "advance", "seconds": "1"}, 422, "form_param_type_invalid"),
    ],
)
def test_what_cannot_be_done_is_refused_in_clerks_way(
    local: Local, asked: dict[str, object], status: int, code: str
) -> None:
    """A status, a code, and nothing has happened."""
    answer = local.client.post("/do", json=asked)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert local.state()["wire"]["messages"] == []


def test_the_database_path_is_not_the_folder_of_the_project(process: Local, tmp_path: Path) -> None:
    """With `:memory:` nothing is left in the folder it was started in."""
    assert not list(tmp_path.iterdir())
    assert process.state()["database"]["path"].endswith("clerkmap-dev.db")
