"""What can be done at the made-up Clerk, and what follows from it."""

import sys
import threading

import pytest

from clerkmap.testing import ClerkRefuses, Clock, FakeClerk
from clerkmap.testing.fake.users import merged
from fake_world import NOW, World

DAY = 86_400


def test_names_that_are_given_up_are_free_again() -> None:
    """By renaming, by removing, by deleting; and one of which only the case changes stays one's own."""
    world = World()
    clerk = world.clerk
    clerk.update_user(world.ada, username="ADA")
    with pytest.raises(ClerkRefuses):
        clerk.create_user(username="ada")
    clerk.update_user(world.ada, username="lovelace", external_id=None)
    clerk.create_user("gone@example.com", username="ada", external_id="x1")
    second = clerk.add_address(world.bea, "second@example.com", primary=True)
    clerk.remove_address(world.bea, second)
    assert world.bea.email == "bea@example.com"
    clerk.create_user("second@example.com")
    clerk.update_organization(world.acme, slug="ACME")
    assert clerk.create_organization("Acme").slug != "acme"
    clerk.update_organization(world.acme, slug="new")
    assert clerk.create_organization("Acme").slug == "acme"
    assert clerk.create_organization("Closed").slug == "closed"


def test_who_is_shut_out_loses_every_session_and_gets_no_other() -> None:
    """By a ban, or by a company's directory; until they are let in again."""
    for shut_out, let_in in (
        (FakeClerk.ban, FakeClerk.unban),
        (FakeClerk.deprovision, lambda clerk, user: clerk.deprovision(user, deprovisioned=False)),
    ):
        world = World()
        clerk = world.clerk
        clerk.sign_in(world.ada, pending=True)
        clerk.end_session(world.session, "ended")
        shut_out(clerk, world.ada)
        assert [session.status for session in clerk.sessions_of(world.ada)] == ["ended", "revoked"]
        with pytest.raises(ClerkRefuses):
            clerk.sign_in(world.ada)
        let_in(clerk, world.ada)
        assert clerk.sign_in(world.ada).status == "active"


def test_a_session_that_is_over_stays_as_it_ended() -> None:
    """Ending it again says nothing."""
    world = World()
    world.clerk.end_session(world.session, "removed")
    before = world.state()
    world.clerk.end_session(world.session, "revoked")
    assert world.state() == before


def test_deleting_takes_along_what_hangs_on_it_and_says_one_thing() -> None:
    """Memberships, sessions and invitations go in silence, as at Clerk."""
    world = World()
    clerk = world.clerk
    told = len(clerk.wire.messages)
    clerk.delete_organization(world.acme)
    assert (clerk.members_of(world.acme), clerk.invitations_to(world.acme)) == ([], [])
    assert clerk.memberships_of(world.ada) == []
    clerk.delete_user(world.ada)
    assert clerk.sessions_of(world.ada) == []
    assert [each.type for each in list(clerk.wire.messages.values())[told:]] == ["organization.deleted", "user.deleted"]


def test_who_comes_back_gets_another_membership() -> None:
    """As at Clerk: the old one is over for good."""
    world = World()
    first = world.clerk.add_member(world.acme, world.bea)
    assert world.clerk.add_member(world.acme, world.bea, role="org:admin") is first
    assert world.clerk.remove_member(world.acme, world.bea) is first
    assert world.clerk.add_member(world.acme, world.bea).id != first.id
    assert [each.user_id for each in world.clerk.members_of(world.acme)].count(world.bea.id) == 1


def test_an_invitation_finds_its_person_or_makes_one() -> None:
    """By address, however it is spelled; role and metadata go along; after thirty days it has lapsed."""
    world = World()
    clerk = world.clerk
    to_bea = clerk.invite(world.acme, "BEA@example.com", role="org:admin", public_metadata={"desk": 3})
    assert clerk.accept_invitation(to_bea) is world.bea
    membership = clerk.membership(world.acme, world.bea)
    assert membership is not None
    assert (membership.role, membership.public_metadata) == ("org:admin", {"desk": 3})
    cid = clerk.accept_invitation(world.invitation)
    assert (cid.email, world.invitation.user_id) == ("cid@example.com", cid.id)
    late = clerk.invite(world.acme, "eva@example.com")
    clerk.clock.advance(30 * DAY + 1)
    with pytest.raises(ClerkRefuses):
        clerk.accept_invitation(late)
    assert late.status == "expired"


def test_metadata_are_merged_at_every_depth() -> None:
    """None takes a key away, lists are replaced, what was given is copied; and null can be merged into."""
    world = World()
    given = {"a": {"b": 1, "c": [1]}, "d": 2}
    world.clerk.merge_metadata(world.ada, public_metadata=given)
    given["d"] = 3
    world.clerk.merge_metadata(world.ada, public_metadata={"a": {"b": None, "c": [2], "e": {"f": None}}})
    assert world.ada.public_metadata == {"a": {"c": [2], "e": {}}, "d": 2}
    world.clerk.replace_metadata(world.ada, public_metadata=None, private_metadata={"only": 1})
    assert world.clerk.shape(world.ada)["public_metadata"] is None
    assert world.ada.private_metadata == {"only": 1}
    world.clerk.merge_metadata(world.ada, public_metadata={"a": 1})
    assert world.ada.public_metadata == {"a": 1}
    assert merged({"a": 1}, {"a": {"b": 2}}) == {"a": {"b": 2}}


def test_each_change_moves_the_date_of_what_it_changes() -> None:
    """Also where the clock stands still, or is put back."""
    clerk = FakeClerk(seed=8, clock=Clock(NOW))
    ada = clerk.create_user("ada@example.com")
    acme = clerk.create_organization(created_by=ada)
    membership = clerk.members_of(acme)[0]
    for act, it in (
        (lambda: clerk.update_user(ada, first_name="A"), ada),
        (lambda: clerk.merge_metadata(ada, public_metadata={}), ada),
        (lambda: clerk.lock(ada), ada),
        (lambda: clerk.update_organization(acme, name="B"), acme),
        (lambda: clerk.add_member(acme, ada, role="org:member"), membership),
    ):
        clerk.clock.advance(-100)
        before = it.updated_at
        act()
        assert it.updated_at > before > 0


def test_many_at_once() -> None:
    """Threads that change one Clerk get in nobody's way: each id and each moment is there once."""
    clerk = FakeClerk(seed=8, clock=Clock(NOW))
    acme = clerk.create_organization()
    threads = [
        threading.Thread(target=lambda: [clerk.add_member(acme, clerk.create_user()) for _ in range(20)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(clerk.users) == len(clerk.members_of(acme)) == 160
    assert len({user.created_at for user in clerk.users.values()}) == 160
    assert len(clerk.wire.messages) == 321


def test_silences_that_overlap_end_when_the_last_of_them_does() -> None:
    """As those of two threads do; after both, everything is told again."""
    clerk = FakeClerk(seed=8)
    one, another = clerk.silence(), clerk.silence()
    one.__enter__()
    another.__enter__()
    one.__exit__(None, None, None)
    clerk.create_user()
    another.__exit__(None, None, None)
    assert not clerk.wire.messages
    clerk.create_user()
    assert len(clerk.wire.messages) == 1


def test_what_there_is_can_be_read_while_others_change_it() -> None:
    """Whoever asks gets an answer, and all that was said is delivered."""
    clerk = FakeClerk(seed=8, clock=Clock(NOW))
    acme, ada = clerk.create_organization(), clerk.create_user()
    for each in range(100):
        clerk.invite(acme, f"{each}@example.com")
        clerk.sign_in(ada)
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            gone = clerk.create_organization("Gone")
            clerk.invite(gone, "gone@example.com")
            clerk.sign_in(clerk.create_user(id="user_gone"))
            clerk.delete_organization(gone)
            clerk.delete_user(clerk.users["user_gone"])

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(500):
            assert len(clerk.invitations_to(acme)) == len(clerk.sessions_of(ada)) == 100
        clerk.wire.deliver_all(lambda _headers, _body: 200)
    finally:
        over.set()
        thread.join(60)
        sys.setswitchinterval(before)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "EdDSA"])
def test_the_same_seed_signs_the_same_token(algorithm: str) -> None:
    """To the letter, with every algorithm."""

    def token() -> str:
        clerk = FakeClerk(seed=8, clock=Clock(NOW), algorithm=algorithm)
        return clerk.token(clerk.create_user())

    assert token() == token()
