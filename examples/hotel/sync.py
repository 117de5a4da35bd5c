"""Bring in everybody who is at Clerk already, and whatever webhooks were missed. To be run as often as you like.

What Clerk answers becomes an event that happened when it was asked for, and takes the way of all events. So this may
run while webhooks come in: of each thing the newest word stays, and what is known already changes nothing.
"""

import json
import time
from collections.abc import Callable

from clerkmap import Reconciler, parse_event

from .clerk_api import ClerkApi

SOURCES = {"user.updated": "users", "organization.updated": "organizations"}
SOURCES |= {"organizationMembership.updated": "organization_memberships"}


def sync(api: ClerkApi, reconciler: Reconciler, clock: Callable[[], float] = time.time) -> int:
    """Ask Clerk for all there is. Tells how many things were made or altered."""
    changed = 0
    for type_, what in SOURCES.items():
        asked_at = int(clock() * 1000)
        for data in api.users() if what == "users" else api.listed(what):
            event = parse_event(json.dumps({"type": type_, "data": data, "timestamp": asked_at}))
            changed += len(reconciler.apply(event))
    return changed
