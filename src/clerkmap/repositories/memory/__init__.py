"""The reference repository, for tests and for reading. It has the same parts as the SQL repositories, without SQL.

Everything is lost with the process.
"""

from .repository import MemoryRepository as MemoryRepository
