"""The promises of every repository about its content: lists of records, counts and checkpoints."""

from typing import Any

import pytest

from ..core.model import Count
from ..core.records import (
    EMBEDDED,
    FROM_TOKEN,
    AnyRecord,
    ClerkMembership,
    ClerkOrganization,
    ClerkUser,
    Kind,
    key_of,
)
from ..core.times import to_datetime
from ..errors import ConfigurationError
from ..ports import Repository
from .samples import ACME, ANN, HERE, THERE, MakeRepository, company, left, member, person

KINDS: tuple[Kind, ...] = ("user", "organization", "membership")


def everything() -> list[AnyRecord]:
    """Return records of every kind and grade, each of its own subject."""
    ends = {"clerk_user_id": ANN, "clerk_organization_id": ACME}
    return [
        *(person(f"user_{number}", at=number, first_name=str(number), banned=number == 3) for number in range(1, 8)),
        person("user_sighted", at=20, grade=FROM_TOKEN),
        person("user_glimpsed", at=9, grade=EMBEDDED, email_verified=True),
        ClerkUser.deleted(HERE, "user_gone", observed_at=30),
        company(at=4, name="Acme", created_at=3),
        ClerkOrganization.deleted(HERE, "org_gone", observed_at=5),
        *(member(f"orgmem_{number}", at=number) for number in range(1, 4)),
        left("orgmem_gone", at=8),
        ClerkMembership.from_token(HERE, **ends, role="org:admin", observed_at=40),
    ]


def read_all(repository: Repository, kind: Kind, instance: str, limit: int) -> list[AnyRecord]:
    """Return all records of one kind, page by page."""
    read: list[AnyRecord] = []
    while page := repository.records(kind, instance, after=read[-1].key if read else "", limit=limit):
        assert len(page) <= limit
        assert not read or page[0].key > read[-1].key, "the page begins before its place, and so there is no end"
        read.extend(page)
    return read


class ListingContract:
    """A part of `DirectoryContract`."""

    def test_all_is_listed_in_the_order_of_the_keys(self, repository: Repository) -> None:
        """A list has each record of one instance once, of every grade, in any size of pages."""
        said = everything()
        repository.put([*said, person(instance=THERE), company(instance=THERE), person(instance="a")])

        for kind in KINDS:
            wanted = sorted((record for record in said if record.kind == kind), key=lambda record: record.key)
            for limit in (1, 2, len(wanted), 10_000):
                assert read_all(repository, kind, HERE, limit) == wanted
            assert repository.records(kind, HERE) == wanted
            assert repository.records(kind, HERE, after=wanted[0].key, limit=1) == wanted[1:2]
            assert [repository.records(kind, HERE, after=after) for after in ("~", wanted[-1].key)] == [[], []]
            assert repository.records(kind, "elsewhere") == []

    def test_each_is_found_by_its_key(self, repository: Repository) -> None:
        """A record is found by its key, also after its id was erased."""
        said = everything()
        repository.put(said)

        for kind in KINDS:
            for record in said:
                wanted = record if record.kind == kind else None
                assert repository.record(kind, HERE, record.key) == wanted
            assert repository.record(kind, THERE, said[0].key) is None
            assert [repository.record(kind, HERE, key) for key in ("", "nothing", "\x00", "\ud800")] == [None] * 4

    def test_ranks_are_read_by_many_keys_at_once(self, repository: Repository) -> None:
        """Ranks are read for many keys, each once; unknown and invalid keys are left out."""
        said = everything()
        repository.put([*said, person(at=50, instance=THERE)])

        for kind in KINDS:
            wanted = {record.key: record.rank for record in said if record.kind == kind}
            keys = [record.key for record in said] * 2
            assert repository.ranks(kind, HERE, [*keys, "nothing", "\x00", "\ud800"]) == wanted
            assert repository.ranks(kind, HERE, []) == repository.ranks(kind, "elsewhere", keys) == {}
        with pytest.raises(ConfigurationError, match="keys"):
            repository.ranks("user", HERE, ["key"] * 10_001)
        with pytest.raises(ConfigurationError, match="keys"):
            repository.ranks("user", HERE, "key")

    def test_pages_go_on_while_others_write(self, repository: Repository) -> None:
        """Writes between two pages move no row: all rows from the start are read once."""
        names = [f"user_{number}" for number in range(20)]
        repository.put([person(name) for name in names])
        read = repository.records("user", HERE, limit=7)

        while page := repository.records("user", HERE, after=read[-1].key, limit=7):
            assert page[0].key > read[-1].key
            read.extend(page)
            repository.put([person(f"user_new_{len(read)}"), person(names[0], at=len(read))])
            repository.put([ClerkUser.deleted(HERE, names[1], observed_at=1)])

        keys = [record.key for record in read]
        assert keys == sorted(set(keys))
        assert set(keys) >= {key_of(name) for name in names}

    def test_all_is_counted(self, repository: Repository) -> None:
        """Counts separate records from Clerk and from tokens, and have the time of the latest one from Clerk."""
        repository.put([*everything(), person(at=99, instance=THERE)])

        counts = repository.counts(HERE)
        assert counts == {
            "user": Count(told=8, from_token=1, deleted=1, updated_at=to_datetime(9), observed_at=to_datetime(30)),
            "organization": Count(
                told=1, from_token=0, deleted=1, updated_at=to_datetime(4), observed_at=to_datetime(5)
            ),
            "membership": Count(told=3, from_token=1, deleted=1, updated_at=to_datetime(3), observed_at=to_datetime(8)),
        }
        assert [counts[kind].alive for kind in KINDS] == [9, 1, 4]
        assert repository.counts(THERE)["user"] == Count(
            told=1, updated_at=to_datetime(99), observed_at=to_datetime(99)
        )
        assert repository.counts("elsewhere") == dict.fromkeys(KINDS, Count())

    def test_what_only_tokens_tell_has_no_date(self, repository: Repository) -> None:
        """A record from a token does not count as data from Clerk."""
        repository.put([person(at=7, grade=FROM_TOKEN)])

        assert repository.counts(HERE)["user"] == Count(from_token=1)

    def test_notes_are_kept(self, repository: Repository) -> None:
        """A checkpoint is kept without any change until it is replaced or removed."""
        told: list[Any] = []
        repository.listeners.watch(told.append)
        long = "🙂" * (65_536 // 4)
        assert repository.checkpoint("sync") is None

        for text in ("page 7", "", long, '{"n": "%s ? :a -- \u202e"}'):
            repository.set_checkpoint("sync", text)
            assert repository.checkpoint("sync") == text
        repository.set_checkpoint("S" * 200, "another")
        assert (repository.checkpoint("Sync"), repository.checkpoint("S" * 200)) == (None, "another")

        for _ in range(2):
            repository.set_checkpoint("sync", None)
            assert repository.checkpoint("sync") is None
        assert repository.checkpoint("S" * 200) == "another"
        assert told == []

    def test_a_page_is_asked_for_in_words_that_mean_something(self, repository: Repository) -> None:
        """An invalid limit, kind or key of a page is refused, and the error names it."""
        repository.put([person()])
        limits: list[Any] = [0, -1, 10_001, True, 1.0, "5", None]
        kinds: list[Any] = ["session", "users", "", None]
        texts: list[Any] = [None, 7, b"x"]
        for limit in limits:
            with pytest.raises(ConfigurationError, match="from 1 to 10000"):
                repository.records("user", HERE, limit=limit)
        for kind in kinds:
            with pytest.raises(ConfigurationError, match="user, organization, membership"):
                repository.records(kind, HERE)
            with pytest.raises(ConfigurationError, match="user, organization, membership"):
                repository.record(kind, HERE, key_of(ANN))
        for after in (*texts, "\x00", "\ud800"):
            with pytest.raises(ConfigurationError, match="after"):
                repository.records("user", HERE, after=after)

    def test_a_note_is_short_text_with_a_name(self, repository: Repository) -> None:
        """A checkpoint is short text with a printable name. A refused one leaves the old one."""
        repository.set_checkpoint("sync", "as it was")
        names: list[Any] = ["", "x" * 201, "a\x00", "a\n", "\ud800", None, 7]
        texts: list[Any] = ["x" * 65_537, "🙂" * (65_536 // 4) + "x", "\x00", "\ud800", 7, b"x"]
        for name in names:
            with pytest.raises(ConfigurationError, match="at most 200 characters"):
                repository.checkpoint(name)
            with pytest.raises(ConfigurationError, match="at most 200 characters"):
                repository.set_checkpoint(name, "x")
        for text in texts:
            with pytest.raises(ConfigurationError, match="at most 65536 bytes"):
                repository.set_checkpoint("sync", text)
        assert repository.checkpoint("sync") == "as it was"

    def test_a_note_is_not_written_from_within(self, make_repository: MakeRepository) -> None:
        """A hook cannot write a checkpoint: the transaction is its own."""
        refused: list[ConfigurationError] = []

        def hook(change: Any, tx: Any) -> None:
            with pytest.raises(ConfigurationError) as error:
                repository.set_checkpoint("sync", "x")
            refused.append(error.value)

        repository = make_repository(hooks=[hook])
        repository.put([person()])
        assert len(refused) == 1
        assert repository.checkpoint("sync") is None
