"""What the processes of the nemesis test do besides `put` and `find`: they write and read roles, links, notes and the
outbox, and write down each call. All of them are at the same things at the same time, and go on to new ones together.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from clerkmap import CommitUnknown, LinkRefused, OutboxEntry, Repository, User, UserUnknown
from clerkmap.core.records import key_of
from clerkmap.core.times import to_datetime, to_milliseconds
from clerkmap.errors import RepositoryUnavailable
from clerkmap.testing.samples import THERE
from linearizability import MODELS, NEVER, Call, is_linearizable

# These users are those of another instance, which nothing but these calls is about.
LASTS = 0.4  # seconds for which all processes are at one family of things
ERRORS = (LinkRefused, UserUnknown)
METHODS = ("set_role", "link", "unlink", "relink", "erase", "set_checkpoint", "swap_checkpoint", "swap_outbox_entry")
EVERYTHING = "everything"
# The operations that a run may be limited to, and the methods that such a run must call. `put` has no calls here.
ALONE: dict[str, tuple[str, ...]] = {
    "put": (),
    **{each: (each,) for each in ("set_role", "link", "unlink", "relink", "erase")},
    "checkpoints": ("set_checkpoint", "swap_checkpoint"),
    "outbox": ("swap_outbox_entry",),
}

Write = Callable[..., None]  # a line of the history
Family = str


class Writer:
    """One process' part. It remembers what it has seen of the present family, to swap what is there."""

    def __init__(self, repository: Repository, write: Write, seed: str, number: int, only: str = EVERYTHING) -> None:
        self._repository = repository
        self._write = write
        self._random = Random(f"{seed}/{number}/writes")
        self._number = number
        self._kinds: list[Callable[[], None]] = {
            "put": [],
            "checkpoints": [self._checkpoints],
            "outbox": [self._outbox],
        }.get(only, [self._people])
        self._of_people: Sequence[str] = ("find", "link", only, only)
        if only == EVERYTHING:
            self._kinds = [*[self._people] * 3, self._checkpoints, self._outbox]
            self._of_people = ("find", "find", "link", "link", "unlink", "relink", "set_role", "set_role", "erase")
        self._calls = 0
        self._only_reads = False
        self._family = ""
        self._checkpoint: str | None = None
        self._entry: OutboxEntry | None = None
        self._users: list[str] = []

    def step(self) -> None:
        """Do one thing to the family of this moment, which all processes of the machine know by the clock."""
        family = str(int(time.monotonic() / LASTS))
        if family != self._family:
            self._family, self._checkpoint, self._entry, self._only_reads = family, None, None, False
            self._users = [f"a{family}", f"b{family}"]
        if self._kinds:
            self._random.choice(self._kinds)()

    def _people(self) -> None:
        random, repository = self._random, self._repository
        identity, user, other = random.choice("xy"), random.choice(self._users), random.choice(self._users)
        clerk_id = f"user_{identity}{self._family}"
        does = random.choice(self._of_people)
        if self._only_reads or (does == "erase" and random.random() < 0.7):
            does = "find"
        role, shared = random.choice((None, "admin", "member")), random.random() < 0.7
        calls: dict[str, tuple[tuple[Any, ...], Callable[[], Any]]] = {
            "find": ((identity,), lambda: _find(repository, clerk_id)),
            "link": ((identity, user, shared), lambda: _shown(repository.link(THERE, clerk_id, user, shared=shared))),
            "unlink": ((identity, user), lambda: _shown(repository.unlink(THERE, clerk_id, user))),
            "relink": ((identity, user, other), lambda: _shown(repository.relink(THERE, clerk_id, user, to=other))),
            "set_role": ((user, role), lambda: _of_user(repository.set_role(user, role))),
            "erase": ((user,), lambda: _of_user(repository.erase(user).user)),
        }
        args, call = calls[does]
        result = self._call("people", does, args, call)
        if isinstance(result, list) and result[0] not in self._users:
            self._users = [*self._users, result[0]][-4:]

    def _checkpoints(self) -> None:
        random, repository = self._random, self._repository
        name, text = f"note {self._family}", random.choice((None, "A", "B", f"{self._number}/{self._calls}"))
        does = random.choice(("checkpoint", "set_checkpoint", "swap_checkpoint", "swap_checkpoint"))
        if self._only_reads or does == "checkpoint":
            self._checkpoint = self._call("checkpoint", "checkpoint", (), lambda: repository.checkpoint(name))
        elif does == "set_checkpoint":
            self._call("checkpoint", does, (text,), lambda: repository.set_checkpoint(name, text))
        else:
            before = self._checkpoint
            if self._call("checkpoint", does, (before, text), lambda: repository.swap_checkpoint(name, before, text)):
                self._checkpoint = text

    def _outbox(self) -> None:
        random, key = self._random, key_of(f"user_{self._family}")
        before = self._entry
        if self._only_reads or random.random() < 0.4:
            self._entry = self._call(
                "outbox_entry", "outbox_entry", (), lambda: self._repository.outbox_entry(THERE, "user", key)
            )
            return
        after = None if before is not None and random.random() < 0.3 else OutboxEntry(
            THERE, "user", key, since=to_datetime(self._calls), due_at=to_datetime(random.randrange(3)),
            tries=random.randrange(2), error=random.choice((None, f"{self._number}/{self._calls}")),
        )  # fmt: skip
        if self._call(
            "outbox_entry",
            "swap_outbox_entry",
            (before, after),
            lambda: self._repository.swap_outbox_entry(before, after),
        ):
            self._entry = after

    def _call(self, kind: str, does: str, args: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        self._calls += 1
        number, thing = self._calls, f"{kind} {self._family}"
        self._write(call=number, thing=thing, does=does, args=[_plain(each) for each in args])
        try:
            result = call()
        except ERRORS as error:
            result = type(error).__name__
        except RepositoryUnavailable as error:
            is_unknown = isinstance(error, CommitUnknown)
            self._only_reads |= is_unknown  # the search for an order doubles with each unknown call on one thing
            self._write(call=number, outcome="unknown" if is_unknown else "nothing", why=repr(error))
            return None
        except Exception as error:
            self._write(call=number, outcome="fail", why=repr(error))
            return None
        self._write(call=number, outcome="ok", result=_plain(result))
        return result


def _plain(value: Any) -> Any:
    if not isinstance(value, OutboxEntry):
        return value
    return [to_milliseconds(value.since), to_milliseconds(value.due_at), value.tries, value.error]


def _shown(user: User) -> list[Any]:
    return [user.id, user.role, user.clerk.is_deleted]


def _of_user(user: User) -> list[Any]:
    return [user.id, user.role]


def _find(repository: Repository, clerk_id: str) -> list[Any] | None:
    standing = repository.find(THERE, clerk_id)
    return None if standing is None else _shown(standing.user)


# ------------------------------------------------------------------------------------------- what came of it


def read_calls(path: Path) -> tuple[dict[str, list[Call]], list[str]]:
    """The calls of one process by the thing that they were about, and what went wrong with them.

    What has written nothing is left out: that is so by the word of the repository, and a later look shows if it lied.
    """
    begun: dict[int, dict[str, Any]] = {}
    ended: dict[int, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        said = json.loads(line)
        if "call" in said:
            (begun if "does" in said else ended)[said["call"]] = said
    calls, wrong = defaultdict[str, list[Call]](list), list[str]()
    for number, said in begun.items():
        end = ended.get(number, {"outcome": "unknown"})
        who, args = f"{path.name} {number}", tuple(said["args"])
        if end["outcome"] == "fail":
            wrong.append(f"{who} {said['does']} failed: {end['why']}")
        elif end["outcome"] != "nothing":
            at = end["at"] if end["outcome"] == "ok" else NEVER
            calls[said["thing"]].append(Call(who, said["at"], at, said["does"], args, end.get("result")))
    return calls, wrong


def moved_from(calls: dict[str, list[Call]]) -> set[str]:
    """The users from whom an identity may have been taken."""
    return {call.args[1] for several in calls.values() for call in several if call.does in ("unlink", "relink")}


def last_calls(repository: Repository, things: Collection[str], now: float) -> Iterator[tuple[str, Call]]:
    """What the tables hold at the end, as calls that began after all others."""
    for thing in things:
        kind, family = thing.split()
        looks: list[tuple[str, tuple[Any, ...], Any]]
        if kind == "checkpoint":
            looks = [("checkpoint", (), repository.checkpoint(f"note {family}"))]
        elif kind == "outbox_entry":
            looks = [("outbox_entry", (), _plain(repository.outbox_entry(THERE, "user", key_of(f"user_{family}"))))]
        else:
            looks = [("find", (each,), _find(repository, f"user_{each}{family}")) for each in "xy"]
        for number, (does, args, result) in enumerate(looks):
            yield thing, Call("the tables at the end", now + 2 * number, now + 2 * number + 1, does, args, result)


def broken(calls: dict[str, list[Call]]) -> list[str]:
    """The histories that no order of their calls explains."""
    return [
        f"no order explains {thing}:\n" + "\n".join(map(str, sorted(history, key=lambda call: call.began)))
        for thing, history in calls.items()
        if not is_linearizable(history, *MODELS[thing.split()[0]])
    ]
