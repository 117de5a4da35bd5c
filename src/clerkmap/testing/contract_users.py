"""The promises of every repository about lists of users and organizations: filters, searches and pages."""

from collections.abc import Callable
from typing import Any

import pytest

from ..core.model import ResultPage
from ..core.records import FROM_TOKEN, ClerkOrganization, ClerkUser, key_of
from ..errors import ConfigurationError
from ..ports import Repository
from .samples import ACME, ANN, BEA, HERE, THERE, MakeRepository, by_key, company, found, member, person

Read = Callable[..., ResultPage[Any]]
HOSTILE = ("%", "_nn", "a%", "' OR '' = '", "\\", "a\x00", "\x00", "\ud800", "a\udfff", "x" * 100_000, "\U0010ffff")


def pages(read: Read, *args: Any, limit: int = 2, **filters: Any) -> list[Any]:
    """Return all items of a list, page by page."""
    page = read(*args, limit=limit, **filters)
    items = list(page.items)
    while page.after is not None:
        assert len(page.items) == limit
        page = read(*args, after=page.after, limit=limit, **filters)
        assert page.items
        items += page.items
    return items


def called(read: Read, *args: Any, **filters: Any) -> list[str]:
    """Return the Clerk ids of a list, in its order."""
    return [str(each.clerk_id) for each in pages(read, *args, **filters)]


class UsersContract:
    """A part of `DirectoryContract`."""

    def test_users_are_listed_once_in_pages(self, repository: Repository) -> None:
        """Each user is listed once, in any size of pages, as `user` shows it, and counted."""
        names = [f"user_{number}" for number in range(7)]
        repository.put([person(name, first_name=name) for name in names])

        for limit in (1, 2, 6, 7, 8, 10_000):
            users = pages(repository.users, limit=limit)
            assert sorted(user.clerk_id for user in users) == names
            assert all(user == repository.user(user.id) for user in users)
        assert [repository.count_users(at_most=most) for most in (1, 6, 7, 10_000)] == [1, 6, 7, 7]

    def test_organizations_are_listed_once_in_pages(self, repository: Repository) -> None:
        """The same of organizations."""
        names = [f"org_{number}" for number in range(7)]
        repository.put([company(name, name=name) for name in names])

        for limit in (1, 2, 6, 7, 8, 10_000):
            organizations = pages(repository.organizations, limit=limit)
            assert sorted(each.clerk_id for each in organizations) == names
            assert all(each == repository.organization(each.id) for each in organizations)
        assert [repository.count_organizations(at_most=most) for most in (1, 7, 10_000)] == [1, 7, 7]

    def test_lists_have_filters(self, repository: Repository) -> None:
        """Without filters, deleted rows are left out and banned users are not."""
        repository.put([person("user_1"), person("user_2", banned=True), person("user_3"), person("user_4")])
        repository.put([ClerkUser.deleted(HERE, "user_3", observed_at=5)])
        repository.put([company(), company("org_2"), ClerkOrganization.deleted(HERE, "org_2", observed_at=5)])
        repository.set_role(found(repository, "user_4").id, "staff")

        cases: list[tuple[dict[str, Any], list[str]]] = [
            ({}, ["user_1", "user_2", "user_4"]),
            ({"deleted": True}, ["None"]),
            ({"deleted": None}, ["None", "user_1", "user_2", "user_4"]),
            ({"banned": True}, ["user_2"]),
            ({"banned": False}, ["user_1", "user_4"]),
            ({"role": "staff"}, ["user_4"]),
            ({"role": "staff", "banned": True}, []),
            ({"role": "other"}, []),
        ]
        for filters, names in cases:
            assert sorted(called(repository.users, **filters)) == names, filters
            assert repository.count_users(**filters) == len(names)
        assert called(repository.organizations) == [ACME]
        assert called(repository.organizations, deleted=True) == ["None"]
        assert len(pages(repository.organizations, deleted=None)) == 2
        assert [repository.count_organizations(deleted=deleted) for deleted in (True, False, None)] == [1, 1, 2]

    def test_a_search_finds_the_beginning_of_names(self, repository: Repository) -> None:
        """A user is found by the beginning of the first, last or full name, of the address and of the username."""
        ann = person(email="Mail@Example.com", first_name="Ann Eva", last_name="Lee", username="nick")
        repository.put([ann, person(BEA, first_name="Beate")])
        found_by = ("a", "ANN", "ann e", "Ann  Eva lee", "le", "Lee", "mail@example.COM", "MAIL", "ni", "nick ", " ann")

        for text in found_by:
            assert called(repository.users, text) == [ANN], text
            assert repository.count_users(text) == 1
        for text in ("eva", "nn", "example.com", "Ann Leex", "lee ann", "mail@example.comm", *HOSTILE):
            assert (called(repository.users, text), repository.count_users(text)) == ([], 0), text[:20]
        for everything in (None, "", " ", "\t"):
            assert len(called(repository.users, everything)) == 2

    def test_a_search_ignores_case_and_the_form_of_accents(self, repository: Repository) -> None:
        """Letters of any alphabet are compared without case, and accents in either form."""
        names = ["ZOË", "zoe\u0308", "Straße", "STRASSE", "Ærø", "Ωmega", "李 明", "İpek", "ﬁn", "Ünal"]
        repository.put([person(f"user_{number}", first_name=name) for number, name in enumerate(names)])

        for text, wanted in (
            ("zoë", [0, 1]),
            ("ZOE\u0308", [0, 1]),
            ("strasse", [2, 3]),
            ("STRAẞE", [2, 3]),
            ("ær", [4]),
            ("ω", [5]),
            ("李", [6]),
            ("fi", [8]),
            ("ü", [9]),
        ):
            assert sorted(called(repository.users, text)) == [f"user_{number}" for number in wanted], text

    def test_a_search_finds_each_user_once(self, repository: Repository) -> None:
        """A user with several names that begin with the text is found once, on one page, in the order of the names."""
        for number in range(9):
            name = f"an{number}"
            said: dict[str, Any] = {
                "first_name": name,
                "last_name": f"ann{9 - number}",
                "username": f"{name}x",
                "email": f"{name}@x",
            }
            repository.put([person(f"user_{number}", **said)])

        for text, limit in (("a", 1), ("an", 2), ("AN", 3), ("an", 100)):
            assert called(repository.users, text, limit=limit) == [f"user_{number}" for number in range(9)]
            assert repository.count_users(text) == 9
        assert called(repository.users, "ann") == [f"user_{9 - number}" for number in range(1, 10)]
        assert called(repository.users, "an3") == ["user_3"]
        assert repository.count_users("an", at_most=4) == 4

    def test_many_of_one_name_are_found_in_pages(self, repository: Repository) -> None:
        """Users with equal names are listed once each, also with filters."""
        names = [f"user_{number:02}" for number in range(30)]
        repository.put([person(name, first_name="Same", banned=name < "user_10") for name in names])
        repository.put([person("user_00", instance=THERE, first_name="Same")])

        for limit in (1, 7, 30, 31):
            assert sorted(called(repository.users, "same", limit=limit)) == sorted([*names, "user_00"])
            assert sorted(called(repository.users, "same", limit=limit, banned=True)) == names[:10]

    def test_a_search_follows_every_change(self, repository: Repository) -> None:
        """New names are found, old ones are not: also in batches, after deletions, and when a record is late."""
        crowd = [f"user_{number}" for number in range(30)]
        repository.put([person(first_name="Old", at=2), company(name="Old", slug="old-slug", at=2)])
        repository.put([person(first_name="Older", at=1), company(name="Older", at=1)])
        assert (called(repository.users, "old"), called(repository.users, "older")) == ([ANN], [])
        assert (called(repository.organizations, "old"), called(repository.organizations, "older")) == ([ACME], [])

        repository.put([person(first_name="New", at=3), company(name="New", at=3)])
        for search in (repository.users, repository.organizations):
            assert (len(called(search, "old")), len(called(search, "new"))) == (0, 1)
        repository.put([person(name, first_name="Many", at=1) for name in crowd])
        repository.put([person(name, first_name="More", at=2) for name in crowd])
        assert (len(called(repository.users, "many")), len(called(repository.users, "more", limit=7))) == (0, 30)
        repository.put([ClerkUser.deleted(HERE, name, observed_at=9) for name in (ANN, *crowd[:25])])
        repository.put([ClerkOrganization.deleted(HERE, ACME, observed_at=9)])
        for deleted in (False, True, None):
            assert len(called(repository.users, "more", deleted=deleted)) == (0 if deleted else 5)
            assert called(repository.users, "new", deleted=deleted) == []
            assert called(repository.organizations, "new", deleted=deleted) == []

    def test_an_erased_user_is_not_found_by_a_name(self, repository: Repository) -> None:
        """After `erase`, only the user's ids find it."""
        repository.put([person(first_name="Ann", email="ann@example.com", username="ann", external_id="7")])
        id = found(repository).id
        repository.erase(id)

        for text in ("ann", "ann@example.com", "7"):
            assert pages(repository.users, text, deleted=None) == []
        assert pages(repository.users, ANN, deleted=None) == pages(repository.users, deleted=True)
        assert pages(repository.users, ANN) == []

    def test_the_identity_that_represents_a_user_is_searched(self, repository: Repository) -> None:
        """Of a user with several identities, the one with the newest record is listed and searched."""
        repository.link(HERE, ANN, "mine")
        repository.link(THERE, ANN, "mine", shared=True)
        repository.put([person(first_name="Old", at=1), person(instance=THERE, first_name="New", at=9)])
        mine = repository.user("mine")

        assert (pages(repository.users), pages(repository.users, "new")) == ([mine], [mine])
        assert pages(repository.users, "old") == []
        assert pages(repository.users, ANN) == pages(repository.users, "mine") == [mine]
        repository.put([ClerkUser.deleted(THERE, ANN, observed_at=10)])
        assert pages(repository.users, "old") == pages(repository.users) == [repository.user("mine")]
        assert pages(repository.users, "new") == []

    def test_a_search_for_an_id_finds_that_user_first(self, repository: Repository) -> None:
        """A text that is your id, a Clerk id or an external id finds these users, and then those with such a name."""
        repository.put([person(external_id="Ann"), person(BEA, first_name="Anna", username="anna")])
        user = found(repository)

        for text in (str(user.id), ANN, f" {ANN} "):
            assert pages(repository.users, text) == [user]
            assert repository.count_users(text) == 1
        for limit in (1, 2, 3):
            assert called(repository.users, "Ann", limit=limit) == [ANN, BEA]
            assert repository.count_users("Ann", at_most=limit) == min(limit, 2)
        assert called(repository.users, "ann") == [BEA]
        assert pages(repository.users, ANN[:-1]) == pages(repository.users, ANN.upper()) == []
        assert pages(repository.users, "Ann", banned=True) == []
        repository.put([person(external_id="Ann", first_name="Ann", at=2)])
        assert called(repository.users, "Ann", limit=1) == [ANN, BEA]

    def test_one_external_id_of_several_instances(self, repository: Repository) -> None:
        """Users of several instances with the same Clerk id or external id are all found, in pages."""
        repository.put([person(external_id="7"), person(instance=THERE, external_id="7"), person(BEA, external_id="8")])

        for text in (ANN, "7"):
            for limit in (1, 2, 3):
                assert called(repository.users, text, limit=limit) == [ANN, ANN]
            assert [repository.count_users(text, at_most=most) for most in (1, 2, 3)] == [1, 2, 2]

    def test_numbers_are_found_as_they_are_written(self, make_repository: MakeRepository) -> None:
        """An id that is a number is found by its digits."""
        repository = make_repository(ids=int, first_id=1)
        repository.put([person(external_id="2"), person(BEA), company()])
        ann, bea = found(repository), found(repository, BEA)

        assert {user.id for user in pages(repository.users, "2")} == {ann.id, 2}
        assert pages(repository.users, limit=1) == sorted([ann, bea], key=lambda user: user.id)
        assert called(repository.organizations, "1") == [ACME]
        for text in ("01", "+1", "1.0", "-1", "\u0661", "9" * 19, "9" * 30):
            assert pages(repository.users, text) == []

    def test_a_search_finds_organizations(self, repository: Repository) -> None:
        """An organization is found by the beginning of its name or slug, or by an id."""
        repository.put([company(name="Acme Größe", slug="fine-things"), company("org_2", name="Beta")])
        acme = next(each for each in pages(repository.organizations) if each.clerk_id == ACME)

        for text in ("acme", "ACME GRÖSS", "fine-", str(acme.id), ACME):
            assert pages(repository.organizations, text) == [acme]
            assert repository.count_organizations(text) == 1
        for text in ("größe", "things", *HOSTILE):
            assert pages(repository.organizations, text) == []

    def test_a_search_finds_members(self, repository: Repository) -> None:
        """Members of one organization are found by their names; others are not."""
        names = {"user_1": "Ann", "user_2": "Anna", "user_3": "Bob", "user_4": "Anno"}
        repository.put([company(), *(person(name, first_name=said, username=said) for name, said in names.items())])
        repository.put([member(f"orgmem_{name}", user=name, role=f"org:{name}") for name in list(names)[:3]])
        acme = next(iter(pages(repository.organizations))).id

        def members(**filters: Any) -> list[str]:
            page = repository.members(acme, **filters)
            items = list(page.items)
            while page.after is not None:
                page = repository.members(acme, after=page.after, **filters)
                items += page.items
            return sorted(str(each.user.clerk_id) for each in items)

        for limit in (1, 2, 50):
            assert members(search="AN", limit=limit) == ["user_1", "user_2"]
        assert members(search="ann", role="org:user_2") == ["user_2"]
        assert [repository.count_members(acme, search=text) for text in ("an", "bob", "c", "")] == [2, 1, 0, 3]
        for text in HOSTILE:
            assert (members(search=text), repository.count_members(acme, search=text)) == ([], 0)

    def test_long_names_are_found(self, repository: Repository) -> None:
        """The first 255 characters of a name are searched, and names of any length are stored."""
        long = "🙂" * 5_000
        repository.put([person(first_name=long, username="x" * 300, email="ŉ" * 255, external_id="y" * 9_999)])

        for text in ("🙂", long[:255], "x" * 255, "ŉ" * 100):
            assert called(repository.users, text) == [ANN]
        for text in (long, long[:256], "x" * 256, "y" * 255):
            assert called(repository.users, text) == []

    def test_a_token_alone_makes_a_user_that_is_listed(self, repository: Repository) -> None:
        """A user that only a token has named is listed, and found by what the token says."""
        repository.put([person(grade=FROM_TOKEN, email="ann@example.com"), person(BEA, grade=FROM_TOKEN)])
        assert sorted(called(repository.users)) == [ANN, BEA]
        assert called(repository.users, "ann@") == [ANN]

    def test_pages_of_a_search_go_on_while_others_write(self, repository: Repository) -> None:
        """Users that keep their names are found once, whatever is written between two pages."""
        names = [f"user_{number}" for number in range(20)]
        repository.put([person(name, first_name=f"An {name}") for name in names])
        page = repository.users("an", limit=7)
        read = list(page.items)
        while page.after is not None:
            repository.put([person(f"user_new_{len(read)}", first_name="An"), person(names[0], at=len(read) + 1)])
            repository.put([ClerkUser.deleted(HERE, str(read[-1].clerk_id), observed_at=99)])
            page = repository.users("an", after=page.after, limit=7)
            read += page.items

        assert len({user.id for user in read}) == len(read)
        assert {user.clerk_id for user in read} >= set(names)

    def test_a_cursor_belongs_to_one_list(self, make_repository: MakeRepository) -> None:
        """A cursor of another list, with other filters, or made up is refused."""
        repository = make_repository(ids=by_key)
        many = range(4)
        repository.put([company(f"org_{n}", name=f"a{n}") for n in many] + [company(name="a")])
        repository.put([person(f"user_{n}", first_name=f"a{n}") for n in many])
        repository.put([member(f"orgmem_{n}", user=f"user_{n}") for n in many])
        acme, other = (pages(repository.organizations, text)[0].id for text in (ACME, "org_1"))
        lists: list[tuple[Read, tuple[Any, ...], dict[str, Any]]] = [
            (repository.users, (), {}),
            (repository.users, (), {"deleted": None}),
            (repository.users, (), {"banned": False}),
            (repository.users, ("a",), {}),
            (repository.organizations, (), {}),
            (repository.organizations, ("a",), {}),
            (repository.members, (acme,), {}),
            (repository.members, (acme,), {"search": "a"}),
            (repository.members, (acme,), {"role": "org:member"}),
        ]
        cursors: list[Any] = [read(*args, limit=1, **filters).after for read, args, filters in lists]
        assert None not in cursors
        assert len(set(cursors)) == len(cursors)
        forged: list[Any] = [
            *(
                "",
                ".",
                "x",
                "a.b",
                "\x00",
                "\ud800",
                "é",
                "x" * 100_000,
                cursors[0][:-1],
                cursors[0] + "=",
                f"{cursors[0]}x",
            ),
            *(f"{cursors[0].split('.')[0]}.W10=", f"{cursors[3].split('.')[0]}.WzFd", 7, b"x", ["x"], True, 1.5),
        ]
        for number, (read, args, filters) in enumerate(lists):
            for cursor in [*forged, *cursors[:number], *cursors[number + 1 :]]:
                with pytest.raises(ConfigurationError, match="after must be the `after` of the previous page"):
                    read(*args, after=cursor, limit=1, **filters)
            assert len(pages(read, *args, limit=1, **filters)) >= 4
        with pytest.raises(ConfigurationError, match="after"):
            repository.members(other, after=cursors[6])
        assert repository.users(" A ", after=cursors[3], limit=1).items  # the same search

    def test_a_wrong_argument_of_a_list_is_refused(self, repository: Repository) -> None:
        """An invalid limit, search, role or flag is refused with a sentence."""
        wrong: list[tuple[str, list[Any], str]] = [
            ("limit", [0, -1, 10_001, True, "5", None], "from 1 to 10000"),
            ("search", [7, b"x", ["x"], False], "search must be text"),
            ("role", [7, b"x", "\x00", "\ud800"], "role"),
            ("banned", ["yes", 2, [True]], "banned must be True, False, or None"),
            ("deleted", ["no", 3], "deleted must be True, False, or None"),
        ]
        for name, values, sentence in wrong:
            for value in values:
                with pytest.raises(ConfigurationError, match=sentence):
                    repository.users(**{name: value})
                counted = {"at_most" if name == "limit" else name: value}
                with pytest.raises(ConfigurationError, match=sentence):
                    repository.count_users(**counted)
                if name in ("limit", "search", "deleted"):
                    with pytest.raises(ConfigurationError, match=sentence):
                        repository.organizations(**{name: value})
                    with pytest.raises(ConfigurationError, match=sentence):
                        repository.count_organizations(**counted)
                if name in ("limit", "search"):
                    with pytest.raises(ConfigurationError, match=sentence):
                        repository.members("nothing", **{name: value})

    def test_a_key_finds_an_erased_user(self, repository: Repository) -> None:
        """The Clerk id finds a user whose id has been erased, because its digest stays."""
        repository.put([person()])
        repository.put([ClerkUser.deleted(HERE, ANN, observed_at=5)])
        (user,) = pages(repository.users, ANN, deleted=None)
        assert (user.clerk_id, user.clerk.key) == (None, key_of(ANN))
