"""What stands in a claim or a header of the generated tokens instead of what should."""

import json
from typing import Any

from hostile_base import ABSENT
from hostile_claims import (
    ACTORS,
    LABELS,
    MORE_STATES,
    NO_TEXT,
    NO_TIME,
    ORGANIZATION_IDS,
    ORGANIZATIONS,
    POOR_TEXT,
    SESSIONS,
    STATES,
    SUBJECTS,
    VERSIONS,
)
from hostile_headers import FORBIDDEN, OTHER_ALGORITHMS
from hostile_purposes import AUDIENCES, ISSUERS, MACHINE_CAT, PARTIES, SESSION_CAT, TEMPLATE_CAT, UNTAGGED_CAT

TEXTS: tuple[Any, ...] = (ABSENT, *NO_TEXT.values(), *POOR_TEXT.values())
TIMES: tuple[Any, ...] = (ABSENT, *NO_TIME.values())
GRANTS: tuple[Any, ...] = (
    *(ABSENT, None, "", " ", "o:a", "u:a,o:b", "ou:a, uo:b", "o:a:b", "x:a", "a", "o:,:b,,", "read,write", "3,1", "-1"),
    *(5, True, [], ["o:a"], {}, "0007, 3", "1_0", "9" * 400),
)
DEEP: Any = json.loads("[" * 40 + "]" * 40)
TYPES: tuple[Any, ...] = ("JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT", "id+jwt", "", 5, ["JWT"], "JWT\n")
CATEGORIES: tuple[Any, ...] = (SESSION_CAT, UNTAGGED_CAT, TEMPLATE_CAT, MACHINE_CAT, "cl_B7d4PD444AAA", "", 5, ["a"])

# By claim; `o.` is a member of the organization. `ABSENT` takes the claim away.
CLAIMS: dict[str, tuple[Any, ...]] = {
    "iss": ISSUERS,
    "sub": (*TEXTS, *SUBJECTS.values(), "mch_a", "user_a"),
    "sid": (*TEXTS, *SESSIONS.values()),
    "azp": (*TEXTS, *PARTIES),
    "aud": (ABSENT, None, *AUDIENCES),
    "exp": TIMES,
    "iat": TIMES,
    "nbf": TIMES,
    "jti": TEXTS,
    "v": (ABSENT, 1, 2, *VERSIONS),
    "sts": (ABSENT, "active", "pending", *STATES, *MORE_STATES),
    "act": (ABSENT, None, {}, {"sub": "user_a"}, {"sub": 5}, {"sub": "user_a", "type": 5}, *ACTORS),
    "o": (ABSENT, None, {"id": "org_a"}, *ORGANIZATIONS),
    "o.id": (ABSENT, None, "org_a", *ORGANIZATION_IDS),
    "o.slg": (ABSENT, None, "", *LABELS),
    "o.rol": (ABSENT, None, "", "admin", "org:admin", "org:org:admin", "org:", *LABELS),
    "o.per": GRANTS,
    "o.fpm": GRANTS,
    "org_id": (ABSENT, None, "org_a", *ORGANIZATION_IDS),
    "org_slug": (ABSENT, None, "", *LABELS),
    "org_role": (ABSENT, None, "", "admin", "org:admin", "org:org:admin", "org:", *LABELS),
    "org_permissions": (*GRANTS, ["org:a:b", "a:b", 5, ""], [[]]),
    "fea": GRANTS,
    "pla": GRANTS,
    "fva": (ABSENT, None, [0, 0], [-1, -1], [5], "0,0", [True, False], [1.5, 2]),
    "client_id": (*TEXTS, "client_a"),
    "handshake": (["__session=; Path=/"], None, []),
    "custom": (None, 1, "é😀", [1, {"a": None}], {"org_id": "org_a"}, "x" * 3000, "x" * 9000, DEEP),
}
HEADERS: dict[str, tuple[Any, ...]] = {
    "typ": (ABSENT, None, *TYPES),
    "cat": (ABSENT, None, *CATEGORIES),
    "kid": (ABSENT, None, "", "ins_unknown", "x" * 201, 5, [], "ins_é"),
    "alg": (ABSENT, None, *OTHER_ALGORITHMS, 256, ["RS256"]),
    "oiat": (1, "x", [1]),
    **FORBIDDEN,
}
