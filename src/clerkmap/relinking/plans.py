"""A plan of moves, which changes nothing, and its execution, one transaction for each person."""

from collections import Counter
from collections.abc import Iterator, Mapping

from ..errors import ConfigurationError
from ..repository import Repository
from .judging import WORDS, Judging
from .moves import By, Move, Refusal, Relink, Tell, Way

MAX_ID = 255  # characters


def plan_relink(
    repository: Repository, *, from_: str, to: str, by: By | Mapping[str, str], progress: Tell | None = None
) -> Relink:
    """Look who is who, and change nothing.

    Args:
        repository: Where both instances are stored, each after a backfill.
        from_: The name of the old instance.
        to: The name of the new one.
        by: What shows that two are one person. In the new instance, `external_id` is the old one's `external_id`,
            `clerk_id` its Clerk id, or `own_id` the id of your user. `verified_email` is the primary address, verified
            in both. Or a mapping, from Clerk ids of the old instance to those of the new.
        progress: Called with how many people were looked at, and of how many.
    """
    if from_ == to:
        raise ConfigurationError("the two instances are one")
    for name in (from_, to):
        if not repository.records("user", name, limit=1):
            raise ConfigurationError(
                "nobody is stored of one of the two instances: look at its name, and run `clerkmap sync` for it first"
            )
    if not isinstance(by, Mapping) and by not in list(WORDS):
        raise ConfigurationError(f"by must be a mapping, or one of {', '.join(WORDS)}")
    way: Way = by if isinstance(by, str) else "mapping"
    judging = Judging(repository, from_, to, way)
    pairs = list(judging.matches() if isinstance(by, str) else _checked(by))
    claims = Counter(pair[1] for pair in pairs if not isinstance(pair, Refusal))
    moves, refusals, already = list[Move](), list[Refusal](), 0
    for number, pair in enumerate(pairs, 1):
        judged = pair if isinstance(pair, Refusal) else judging.judge(*pair)
        if judged is not None and not isinstance(pair, Refusal) and claims[pair[1]] > 1:
            judged = Refusal(*pair, "ambiguous")
        if judged is None:
            already += 1
        elif isinstance(judged, Move):
            moves.append(judged)
        else:
            refusals.append(judged)
        if progress is not None:
            progress(number, len(pairs))
    users = Counter(move.after for move in moves)
    refusals += [Refusal(move.from_clerk_id, move.to_clerk_id, "ambiguous") for move in moves if users[move.after] > 1]
    moves = [move for move in moves if users[move.after] == 1]
    return Relink(from_, to, way, tuple(moves), already, tuple(refusals))


def apply_relink(repository: Repository, plan: Relink, *, progress: Tell | None = None) -> Relink:
    """Make the moves of a plan, each in one transaction, and tell which were made.

    Each person is judged anew just before, and is refused where anything is not as the plan says; the write itself
    refuses an identity that leads elsewhere by then. So it can be ended at any moment and done again, and a second time
    changes nothing.

    Args:
        repository: What the plan was made of.
        plan: Of `plan_relink`.
        progress: Called with how many people were looked at, and of how many.
    """
    judging = Judging(repository, plan.from_, plan.to, plan.by)
    moves, refusals, already = list[Move](), list(plan.refusals), plan.already
    for number, move in enumerate(plan.moves, 1):
        judged = judging.judge(move.from_clerk_id, move.to_clerk_id)
        if judged is None:
            already += 1
        elif isinstance(judged, Refusal):
            refusals.append(judged)
        elif judged == move and judging.make(move):
            moves.append(move)
        else:
            refusals.append(Refusal(move.from_clerk_id, move.to_clerk_id, "changed"))
        if progress is not None:
            progress(number, len(plan.moves))
    return Relink(plan.from_, plan.to, plan.by, tuple(moves), already, tuple(refusals))


def _checked(mapping: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for pair in mapping.items():
        if not all(isinstance(id, str) and 0 < len(id) <= MAX_ID and id.isprintable() for id in pair):
            raise ConfigurationError(f"a mapping is of Clerk ids, printable text of at most {MAX_ID} characters each")
        yield pair
