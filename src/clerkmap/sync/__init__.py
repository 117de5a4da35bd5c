"""Long jobs: copy, compare, repair and import what Clerk has, write back, relink users, move a database.

from clerkmap.sync import backfill

backfill(api, repository)  # users, organizations and memberships, from Clerk into the repository
"""

# All of them at once: a module that is first imported later would take the place of the function of its name.
from .backfill import abackfill, backfill
from .comparison import Difference, Drift
from .create_organization import acreate_organization, create_organization
from .diff import adiff, diff
from .import_file import FileReport, abackfill_file, backfill_file
from .move import Moved, move
from .outbox import OutboxWorker, adrain, afill_outbox, drain, fill_outbox
from .relink import REASONS, By, Move, Reason, Refusal, Relink, Tell, Way, apply_relink, plan_relink
from .repair import RepairReport, arepair, repair
from .runs import Progress, Report
from .sending import Sent

__all__ = [
    "REASONS",
    "By",
    "Difference",
    "Drift",
    "FileReport",
    "Move",
    "Moved",
    "OutboxWorker",
    "Progress",
    "Reason",
    "Refusal",
    "Relink",
    "RepairReport",
    "Report",
    "Sent",
    "Tell",
    "Way",
    "abackfill",
    "abackfill_file",
    "acreate_organization",
    "adiff",
    "adrain",
    "afill_outbox",
    "apply_relink",
    "arepair",
    "backfill",
    "backfill_file",
    "create_organization",
    "diff",
    "drain",
    "fill_outbox",
    "move",
    "plan_relink",
    "repair",
]
