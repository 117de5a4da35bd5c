from collections.abc import Iterable
from typing import Any

def patch_vary_headers(response: Any, newheaders: Iterable[str]) -> None: ...
