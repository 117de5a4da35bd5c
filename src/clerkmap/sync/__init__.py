"""Long jobs: copy, compare, repair and import Clerk's records, write back, relink users, move a database.

from clerkmap.sync import backfill

backfill(api, repository)  # users, organizations and memberships, from Clerk into the repository
"""

# All modules are imported at once: a later first import of a module would replace the function of the same name.
from .backfill import abackfill, backfill
from .create_organization import acreate_organization, create_organization
from .drift import Difference, Drift, adiff, diff
from .import_file import FileReport, abackfill_file, backfill_file
from .job import OnProgress, Progress, Report
from .move import Moved, move
from .outbox import OutboxWorker, Sent, adrain, afill_outbox, drain, fill_outbox
from .refresh import aban_user, adelete_user, arefresh, aunban_user, ban_user, delete_user, refresh, unban_user
from .relink import REASONS, By, Move, Reason, Refusal, Relink, Way, apply_relink, plan_relink
from .repair import RepairReport, arepair, repair
from .replay_hooks import Replayed, areplay_hooks, replay_hooks

__all__ = [
    "REASONS",
    "By",
    "Difference",
    "Drift",
    "FileReport",
    "Move",
    "Moved",
    "OnProgress",
    "OutboxWorker",
    "Progress",
    "Reason",
    "Refusal",
    "Relink",
    "RepairReport",
    "Replayed",
    "Report",
    "Sent",
    "Way",
    "abackfill",
    "abackfill_file",
    "aban_user",
    "acreate_organization",
    "adelete_user",
    "adiff",
    "adrain",
    "afill_outbox",
    "apply_relink",
    "arefresh",
    "arepair",
    "areplay_hooks",
    "aunban_user",
    "backfill",
    "backfill_file",
    "ban_user",
    "create_organization",
    "delete_user",
    "diff",
    "drain",
    "fill_outbox",
    "move",
    "plan_relink",
    "refresh",
    "repair",
    "replay_hooks",
    "unban_user",
]
