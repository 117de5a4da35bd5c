"""How much there is of one kind, without reading all of it: for a look at what two places have drifted apart by."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Count:
    """How many there are of one kind in one instance, and how new they are. Times are milliseconds since 1970.

    told: Those of which Clerk has told, in full or inside another object.
    sighted: Those that nothing but tokens has named. A membership that Clerk has told of later is counted twice: what
        tokens say of one is a record of its own.
    deleted: The tombstones.
    updated_at: When Clerk last changed one of those told.
    observed_at: When Clerk last told something of any, a deletion too; tokens do not count.
    """

    told: int = 0
    sighted: int = 0
    deleted: int = 0
    updated_at: int | None = None
    observed_at: int | None = None

    @property
    def alive(self) -> int:
        """All that are not deleted."""
        return self.told + self.sighted
