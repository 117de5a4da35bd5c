"""Whether some order of concurrent operations explains every result: the search of Wing and Gong, for one thing alone.

An operation takes effect at one moment between its beginning and its end. One whose outcome is unknown may take effect
at any later moment, or never. A model says what each operation does to a state, and which results it may have.
"""

from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

NEVER = float("inf")
MOST_STATES = 2_000_000  # of one search, so that it comes to an end


@dataclass(frozen=True)
class Call:
    """An operation on one thing: what was asked, from when to when, and what came back, unless that is unknown."""

    who: str
    began: float
    ended: float
    does: str
    args: tuple[Any, ...]
    result: Any = None

    @property
    def is_unknown(self) -> bool:
        return self.ended == NEVER

    def __str__(self) -> str:
        end = "unknown" if self.is_unknown else repr(self.result)
        return f"{self.began:.0f} to {self.ended:.0f}: {self.who} {self.does}{self.args} -> {end}"


# From a state and a call: the states that the call may lead to. None of them: the call cannot have had this result.
Model = Callable[[Any, Call], Iterable[Hashable]]


def is_linearizable(calls: Collection[Call], model: Model, start: Hashable) -> bool:
    """Return whether an order of these calls explains all their results."""
    ordered = sorted(calls, key=lambda call: call.began)
    known = sum(1 << number for number, call in enumerate(ordered) if not call.is_unknown)
    seen: set[tuple[int, Hashable]] = set()
    stack: list[tuple[int, Hashable]] = [(0, start)]
    while stack:
        place = stack.pop()
        if place in seen:
            continue
        seen.add(place)
        assert len(seen) < MOST_STATES, f"too many orders of {len(ordered)} calls to try them all"
        done, state = place
        if done & known == known:
            return True
        stack += [
            (done | 1 << number, after) for number in _next(ordered, done) for after in model(state, ordered[number])
        ]
    return False


def _next(ordered: list[Call], done: int) -> list[int]:
    """The calls that may be next: those that began before any of the others has ended."""
    first_end, found = NEVER, list[int]()
    for number, call in enumerate(ordered):
        if call.began > first_end:
            break
        if not done >> number & 1:
            found.append(number)
            first_end = min(first_end, call.ended)
    return found


# ------------------------------------------------------------------------------- what a repository's methods mean

Text = str | None


def checkpoint(state: Text, call: Call) -> Iterable[Text]:
    """A note: a register that is also compared and swapped."""
    match call.does, call.args:
        case "checkpoint", ():
            return [state] if call.is_unknown or call.result == state else []
        case "set_checkpoint", (text,):
            return [text]
        case "swap_checkpoint", (before, after):
            is_same = state == before
            return [after if is_same else state] if call.is_unknown or call.result is is_same else []
    raise ValueError(call.does)


Entry = tuple[int, int, int, Text] | None  # since, due_at, tries, error


def outbox_entry(state: Entry, call: Call) -> Iterable[Entry]:
    """An entry of the outbox, which is only ever compared and swapped."""
    if call.does == "outbox_entry":
        return [state] if call.is_unknown or _entry(call.result) == state else []
    before, after = map(_entry, call.args)
    is_same = (state and state[1:3]) == (before and before[1:3])
    if not (call.is_unknown or call.result is is_same):
        return []
    if is_same and state is not None and after is not None:
        after = (state[0], *after[1:])
    return [after if is_same else state]


def _entry(said: Any) -> Entry:
    return None if said is None else (said[0], said[1], said[2], said[3])


@dataclass(frozen=True)
class People:
    """Two identities, which may lead to one user or to two, and the roles of users. `FRESH` is a user whose id has not
    been seen yet."""

    links: tuple[tuple[str, str, bool], ...] = ()  # an identity, its user, and whether it is deleted
    roles: tuple[tuple[str, Text], ...] = ()  # of every user there is

    def link_of(self, identity: str) -> tuple[str, bool] | None:
        return next(((user, gone) for each, user, gone in self.links if each == identity), None)

    def has(self, user: str) -> bool:
        return any(each == user for each, _ in self.roles)

    def leads(self, user: str) -> bool:
        return any(each == user for _, each, _ in self.links)

    def with_link(self, identity: str, user: str, gone: bool) -> "People":
        links = (*(each for each in self.links if each[0] != identity), (identity, user, gone))
        return People(tuple(sorted(links)), self.roles)

    def with_role(self, user: str, role: Text) -> "People":
        roles = (*(each for each in self.roles if each[0] != user), (user, role))
        return People(self.links, tuple(sorted(roles, key=repr)))

    def erased(self, user: str) -> "People":
        links = tuple((identity, each, gone or each == user) for identity, each, gone in self.links)
        return People(links, self.roles).with_role(user, None)

    def named(self, fresh: str, user: str) -> "People":
        """The same, now that the id of a fresh user is seen."""
        links = tuple((identity, user if each == fresh else each, gone) for identity, each, gone in self.links)
        return People(links, tuple(sorted(((user if each == fresh else each), role) for each, role in self.roles)))


REFUSED, TAKEN, UNKNOWN_USER = "LinkRefused", "UserTaken", "UserUnknown"
FRESH = "fresh user "


def people(state: People, call: Call) -> Iterable[People]:
    """Links, roles and erasures."""
    states = [state]
    if isinstance(call.result, list):  # it shows an id, which may be that of a fresh user
        shown = call.result[0]
        fresh = [] if state.has(shown) else [each for each, _ in state.roles if each.startswith(FRESH)]
        states += [state.named(each, shown) for each in fresh]
    return [
        after for each in states for after, result in _outcome(each, call) if call.is_unknown or result == call.result
    ]


def _outcome(state: People, call: Call) -> list[tuple[People, Any]]:
    """The state after a call, and its result: a user's id, role and whether the identity is deleted; or an error."""
    match call.does, call.args:
        case "find", (identity,):
            return [(state, _shown(state, identity))]
        case "link", (identity, user, shared):
            link = state.link_of(identity)
            if link is not None:
                return [(state, _shown(state, identity) if link[0] == user else REFUSED)]
            if state.leads(user) and not shared:
                return [(state, TAKEN)]
            after = state if state.has(user) else state.with_role(user, None)
            after = after.with_link(identity, user, gone=False)
            return [(after, _shown(after, identity))]
        case "unlink", (identity, user):
            return _moved(state, identity, user, f"{FRESH}of {call.who}" if call.is_unknown else str(call.result[0]))
        case "relink", (identity, user, to):
            link = state.link_of(identity)
            if link is not None and link[0] == user and not state.has(to):
                return [(state, UNKNOWN_USER)]
            return _moved(state, identity, user, to)
        case "set_role", (user, role):
            return [(state.with_role(user, role), [user, role])] if state.leads(user) else [(state, UNKNOWN_USER)]
        case "erase", (user,):
            return [(state.erased(user), [user, None])] if state.leads(user) else [(state, UNKNOWN_USER)]
    raise ValueError(call.does)


def _moved(state: People, identity: str, user: str, to: str) -> list[tuple[People, Any]]:
    link = state.link_of(identity)
    if link is None or link[0] != user:
        return [(state, REFUSED)]
    after = state if state.has(to) else state.with_role(to, None)
    after = after.with_link(identity, to, link[1])
    return [(after, _shown(after, identity))]


def _shown(state: People, identity: str) -> Any:
    link = state.link_of(identity)
    if link is None:
        return None
    return [link[0], dict(state.roles)[link[0]], link[1]]


MODELS: dict[str, tuple[Model, Hashable]] = {
    "checkpoint": (checkpoint, None),
    "outbox_entry": (outbox_entry, None),
    "people": (people, People()),
}
