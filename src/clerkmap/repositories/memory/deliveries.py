"""The keys of handled deliveries in the memory repository. `sql/deliveries.py` does the same in SQL."""

from collections.abc import Collection
from itertools import islice

from ...core.deliveries import FORGOTTEN_AT_ONCE, HANDLED_KEPT
from ...core.model import Change
from ...core.records import AnyRecord
from ..options import Configuration
from .put import MemoryPut
from .tables import MemoryTables, Written


class MemoryDeliveries:
    """The records of a delivery, put in the transaction that adds its key."""

    def __init__(self, tables: MemoryTables, configuration: Configuration, put: MemoryPut) -> None:
        self._tables = tables
        self._configuration = configuration
        self._put = put

    def put_once(self, key: str | None, records: Collection[AnyRecord], again: bool) -> Written[list[Change] | None]:
        deliveries, now = self._tables.deliveries, self._configuration.now()
        if key in deliveries and not again:
            return [], None
        if key is not None and key not in deliveries:
            self._tables.set(deliveries, key, now)
        for each, handled_at in list(islice(deliveries.items(), FORGOTTEN_AT_ONCE)):  # the oldest are the first
            if handled_at < now - HANDLED_KEPT:
                self._tables.set(deliveries, each, None)
        written, changes = self._put(records)
        return written, changes
