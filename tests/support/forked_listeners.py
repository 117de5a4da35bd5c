"""A program that `test_postgres_freshness` runs: it listens, forks, and all of the processes must go on listening.

It ends with 0 if each of them, the parent too, heard of a deletion exactly, and lets the person in no longer.
"""

import os
import sys
from collections.abc import Collection

from clerkmap import ClerkUser, LockedOut
from clerkmap.core.records import key_of
from clerkmap.repositories import PostgresRepository
from freshness_writers import World, until

CHILDREN = 4


def main(conninfo: str, schema: str) -> int:
    world = World()
    ann, token = world.people[0], world.tokens[0]
    here = PostgresRepository.open(conninfo, schema=schema, prefix=f"{schema}_")
    resolver = world.resolver(here)
    told: list[Collection[str] | None] = []

    def listens() -> bool:
        told.clear()
        here.poll()  # tells everybody to look again, unless what listens is believed
        return told == []

    def hears() -> int:
        """Whether it hears of the deletion, and what it makes of it: 0 if both are right."""
        until(lambda: [key_of(ann.id)] in told)
        try:
            resolver.resolve(token)
        except LockedOut:
            return 0
        return 1

    here.listeners.watch(told.append)
    resolver.resolve(token)
    until(listens)
    ready, children = os.pipe(), list[int]()
    for _ in range(CHILDREN):
        child = os.fork()
        if child == 0:
            status = 2
            try:
                resolver.resolve(token)
                until(listens)
                os.write(ready[1], b".")
                status = hears()
            finally:
                os._exit(status)  # not what the parent would do at its end
        children.append(child)
    for _ in children:
        os.read(ready[0], 1)
    until(listens)
    there = PostgresRepository.open(conninfo, schema=schema, prefix=f"{schema}_")
    there.put([ClerkUser.deleted(world.clerk.instance.name, ann.id, observed_at=1)])
    there.close()
    statuses = [hears(), *(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)]
    here.close()
    print(statuses)
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
