from collections.abc import Sequence
from typing import Any

class Migration:
    initial: bool | None
    dependencies: Sequence[Any]
    operations: Sequence[Any]

def __getattr__(name: str) -> Any: ...
