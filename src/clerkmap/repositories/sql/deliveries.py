"""The keys of handled deliveries: each delivery reaches the handlers of events once."""

from collections.abc import Collection

from ...core.deliveries import HANDLED_KEPT
from ...core.model import Change
from ...core.records import AnyRecord
from ..options import Configuration
from .put import SqlPut
from .statements import Statements, Work, Written


class SqlDeliveries:
    """The records of a delivery, put in the transaction that adds its key."""

    def __init__(self, sql: Statements, configuration: Configuration, put: SqlPut) -> None:
        self._sql = sql
        self._configuration = configuration
        self._put = put

    def put_once(
        self, key: str | None, records: Collection[AnyRecord], again: bool
    ) -> Work[Written[list[Change] | None]]:
        """Put the records, unless the key is known. Old keys are removed."""
        now = self._configuration.now()
        is_new = key is None or (yield self._sql.insert_delivery, (key, now))
        if not is_new and not again:
            return [], None
        yield self._sql.forget_deliveries, (now - HANDLED_KEPT,)
        if not records:
            return [], []
        return (yield from self._put(records))
