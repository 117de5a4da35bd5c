"""A token explained: every check in its order, which of them failed, and whom the token makes."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerkmap import ClerkmapError, Resolver, Verifier, aexplain, errors, explain
from clerkmap.auth.explain import Explanation
from clerkmap.auth.explained_checks import CHECKS, KEY, LIFETIME, SIGNATURE
from clerkmap.core.keys import LocalKeys, VerifyingKey
from clerkmap.errors import KeysUnavailable, LockedOut, TokenError
from clerkmap.repositories import MemoryRepository
from clerkmap.testing import Clock, FakeClerk, SigningKey
from hostile_base import GOOD, GOOD_HEADER, GOOD_PAYLOAD, changed, session
from hostile_policies import CASES, Case
from hostile_tokens import CLERK, INSTANCE, NOW, hostile_tokens
from tolerated_tokens import TOLERATED

NAMES = [row.name for row in CHECKS]
# What is only a branch of the tree: nothing raises it.
BRANCHES = {"TokenError", "SignatureError", "WrongKind", "ClaimError", "OutOfTime", "NotForUs", "LockedOut"}
TWICE = {"TemplateToken", "MachineToken", "OAuthToken", "AlgorithmRefused"}  # once by the header, once past the key


def resolver() -> Resolver:
    return Resolver(INSTANCE, MemoryRepository(), verifier=Verifier(INSTANCE, clock=Clock(NOW)))


def failed(explanation: Explanation) -> str | None:
    """The check that failed; all before it have passed, and none after it was reached."""
    found = [check.passed for check in explanation.checks]
    place = found.index(False) if False in found else len(found)
    assert found == [True] * place + [False] * (place < len(found)) + [None] * (len(found) - place - 1)
    return explanation.checks[place].name if place < len(found) else None


def test_every_refusal_of_a_token_belongs_to_a_check() -> None:
    """The table is complete: a class on one side of the signature belongs to one check."""
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    refusals = {each.__name__ for each in classes if issubclass(each, (TokenError, LockedOut))} - BRANCHES
    sides = [CHECKS[:SIGNATURE], CHECKS[SIGNATURE:LIFETIME], CHECKS[LIFETIME:]]
    raised = [[each.__name__ for row in side for each in row.raises] for side in sides]
    assert all(len(names) == len(set(names)) for names in raised)
    everywhere = [name for names in raised for name in names]
    assert set(everywhere) == (refusals | {"KeysUnavailable"}) - {"TokenUnknown", "ApiKeyToken"}  # of opaque ones
    assert {name for name in everywhere if everywhere.count(name) > 1} == TWICE


def test_a_good_token_passes_every_check_and_makes_its_principal() -> None:
    """Everything is ticked, decoded and ready for JSON."""
    user = CLERK.create_user("ada@example.com", first_name="Ada")
    acme = CLERK.create_organization("Acme", created_by=user)
    ours = resolver()
    explanation = explain(ours, CLERK.token(user, acme))
    assert [check.name for check in explanation.checks] == NAMES
    assert failed(explanation) is None
    assert explanation.error is None
    assert explanation.principal is not None
    assert explanation.principal.user == ours.resolve(CLERK.token(user, acme)).user
    plain = json.loads(json.dumps(explanation.to_dict()))
    assert plain["header"]["alg"] == "RS256"
    assert plain["payload"]["sub"] == user.id
    assert plain["checks"][0] == {"name": "format", "passed": True, "told": explanation.checks[0].told}
    assert plain["error"] is None
    assert plain["principal"]["user"]["clerk_id"] == user.id
    assert plain["principal"]["role"] == "org:admin"
    assert set(plain["principal"]["organization"]) == {"id", "name"}


def test_a_verifier_alone_makes_no_principal() -> None:
    """Its checks end where the person's standing begins."""
    explanation = explain(Verifier(INSTANCE, clock=Clock(NOW)), GOOD)
    assert [check.name for check in explanation.checks] == NAMES[:LIFETIME]
    assert failed(explanation) is None
    assert explanation.principal is None
    assert explanation.to_dict()["principal"] is None


@pytest.mark.parametrize("name", TOLERATED)
def test_an_odd_token_with_nothing_wrong_passes(name: str) -> None:
    """However odd a good token looks, it can be explained."""
    explanation = explain(Verifier(INSTANCE, clock=Clock(NOW)), TOLERATED[name])
    assert failed(explanation) is None
    json.dumps(explanation.to_dict())


@pytest.mark.slow
def test_each_hostile_token_fails_the_check_of_its_error() -> None:
    """The explained error is the verifier's own, and the check that failed is one that raises it."""
    ours = resolver()
    table = {row.name: {each.code for each in row.raises} for row in CHECKS}
    wrong = []
    for hostile in hostile_tokens():
        explanation = explain(ours, hostile.token)
        told = json.dumps(explanation.to_dict())
        assert explanation.error is not None
        assert explanation.principal is None
        assert len(told) < 70_000
        if explanation.error.code != hostile.code or hostile.code not in table[failed(explanation) or ""]:
            wrong.append((hostile.name, explanation.error, failed(explanation)))
    assert wrong == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_other_policies(case: Case) -> None:
    """So it is with other instances and verifiers."""
    oidc, options = case.oidc, case.instance
    instance = CLERK.make_instance(**options) if oidc is None else oidc.make_oidc_instance("api", **options)
    explanation = explain(Verifier(instance, clock=Clock(NOW), **case.policy), case.token)
    assert (explanation.error.code if explanation.error else None) == case.code
    assert (failed(explanation) is None) == (case.code is None)


FAULTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "format": ({"crit": ["exp"]}, {}),
    "algorithm": ({"alg": "none"}, {}),
    "declared kind": ({"typ": "at+jwt"}, {}),
    "key": ({"kid": "another"}, {}),
    "signature": ({}, {}),
    "kind": ({}, {"client_id": "client_a"}),
    "issuer": ({}, {"iss": "https://evil.example"}),
    "claims": ({}, {"sid": 5}),
    "expiry": ({}, {"exp": NOW - 12, "iat": NOW - 100}),
    "not before": ({}, {"nbf": NOW + 100}),
    "age": ({}, {"iat": NOW + 20, "exp": NOW + 100}),
    "party": ({}, {"azp": "https://evil.example"}),
    "audience": ({}, {"aud": "another"}),
    "session status": ({}, {"sts": "pending"}),
}


def with_faults(*names: str) -> str:
    header = {name: value for fault in names for name, value in FAULTS[fault][0].items()}
    payload = {name: value for fault in names for name, value in FAULTS[fault][1].items()}
    key = SigningKey("a stranger", CLERK.key.kid) if "signature" in names else CLERK.key
    return key.sign(changed(GOOD_HEADER, header), changed(GOOD_PAYLOAD, payload))


def pairs() -> Iterator[tuple[str, str]]:
    names = list(FAULTS)
    yield from ((first, second) for place, first in enumerate(names) for second in names[place:])


def test_of_two_faults_the_earlier_check_fails() -> None:
    """The order of the table is the order in which the verifier looks: of each two faults, the first is told."""
    assert list(FAULTS) == NAMES[:LIFETIME]
    ours = resolver()
    not_both = {("expiry", "age")}  # they cannot be in one token
    found = {pair: failed(explain(ours, with_faults(*pair))) for pair in pairs() if pair not in not_both}
    assert {pair: name for pair, name in found.items() if name != pair[0]} == {}


def test_a_person_who_may_not_come_in() -> None:
    """The token passed, and what the repository knows of the person is the check that failed."""
    clerk = FakeClerk(seed=44, clock=Clock(NOW))
    repository = MemoryRepository()
    ours = Resolver(clerk.instance, repository, verifier=clerk.verifier())
    ada = clerk.create_user()
    token = clerk.token(ada)
    assert failed(explain(ours, token)) is None
    repository.put([clerk.record(ada, banned=True)])
    explanation = explain(ours, token)
    assert failed(explanation) == "user"
    assert explanation.to_dict()["error"] == {"code": "user_banned", "message": "the user has been banned"}


def test_a_machine_that_the_verifier_lets_in_is_nobody_to_the_resolver() -> None:
    """It fails where a person is looked for, not where its kind was accepted."""
    verifier = Verifier(INSTANCE, clock=Clock(NOW), accept=["m2m"])
    token = CLERK.machine_token()
    assert failed(explain(verifier, token)) is None
    assert failed(explain(Resolver(INSTANCE, MemoryRepository(), verifier=verifier), token)) == "user"


class Away(LocalKeys):
    """Keys that cannot be had."""

    def __init__(self) -> None:
        """It has none."""

    def get(self, kid: str | None, rejected: VerifyingKey | None = None) -> VerifyingKey:
        raise KeysUnavailable


def test_keys_that_cannot_be_had_are_told() -> None:
    """Not the token's fault, and still where it stopped."""
    explanation = explain(Verifier(INSTANCE, keys=Away(), clock=Clock(NOW)), GOOD)
    assert failed(explanation) == NAMES[KEY]
    assert isinstance(explanation.error, ClerkmapError)


def test_what_was_compared_is_told_in_a_sentence() -> None:
    """Both sides of a comparison, and how far off it was; nothing of the signature."""
    explanation = explain(resolver(), session({"exp": NOW - 12, "iat": NOW - 72}))
    told = {check.name: check.told for check in explanation.checks}
    assert told["expiry"] == (
        "The token expires at 2026-09-21 14:13:08 UTC, 12 s ago; the clocks may differ by 5 s. The token has expired."
    )
    assert told["issuer"] == f'The issuer is "{CLERK.issuer}"; accepted: {CLERK.issuer}.'
    assert told["party"] == "The token must be for an authorized party."


def test_nothing_secret_is_told() -> None:
    """Neither the signature nor the key, nor the cookies that a handshake carries."""
    for token in (GOOD, CLERK.handshake_token(), CLERK.template_token(CLERK.create_user())):
        explanation = explain(resolver(), token)
        told = json.dumps(explanation.to_dict()) + repr(explanation)
        assert token.rpartition(".")[2] not in told
        assert CLERK.key.jwk()["n"] not in told
        assert "__session" not in told
    assert GOOD_PAYLOAD["sub"] not in repr(explain(resolver(), GOOD))


def test_a_strangers_text_does_nothing_to_a_terminal() -> None:
    """What is quoted of a token is escaped and cut."""
    explanation = explain(resolver(), session({"iss": "\x1b[2J" + "é" * 1000}))
    told = next(check.told for check in explanation.checks if check.name == "issuer")
    assert told.isascii()
    assert told.isprintable()
    assert len(told) < 500


@given(st.one_of(st.text(), st.binary().map(str), st.lists(st.text(alphabet="abAQ.=-_é{}"), max_size=4).map(".".join)))
def test_no_text_raises(token: str) -> None:
    """Whatever is handed in is explained."""
    explanation = explain(resolver(), token)
    assert failed(explanation) == "format"
    json.dumps(explanation.to_dict())


@pytest.mark.parametrize("token", [None, 5, b"a.b.c", ["a"], {}])
def test_what_is_no_text_is_explained_too(token: Any) -> None:
    """It cannot be read."""
    assert failed(explain(resolver(), token)) == "format"


def test_the_same_in_asynchronous_code() -> None:
    """Both colours tell the same."""

    async def all_of_them() -> list[Explanation]:
        ours = resolver()
        return [await aexplain(ours, token) for token in tokens]

    tokens = [GOOD, *(with_faults(name) for name in FAULTS)]
    ours = resolver()
    for one, other in zip(asyncio.run(all_of_them()), [explain(ours, token) for token in tokens], strict=True):
        assert one.checks == other.checks
        assert type(one.error) is type(other.error)
        assert (one.principal is None) == (other.principal is None)
    assert asyncio.run(aexplain(Verifier(INSTANCE, clock=Clock(NOW)), GOOD)).principal is None
