"""What Clerk's API answers about one thing, as records: what an event would say that told it at the same moment."""

from ..core.events import READERS, Reader

# Given an instance's name, a row, and when it was asked for. `Unreadable` is raised where it does not say what it must.
read_user: Reader = READERS["user.updated"]
read_organization: Reader = READERS["organization.updated"]
read_membership: Reader = READERS["organizationMembership.updated"]
