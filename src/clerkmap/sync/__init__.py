"""Long jobs between two databases.

from clerkmap.sync import move

move(SqliteRepository.open("app.db"), PostgresRepository.open("postgresql://..."))
"""

from ..clerk.runs import Progress
from .database_move import Moved, move

__all__ = ["Moved", "Progress", "move"]
