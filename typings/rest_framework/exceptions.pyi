from typing import Any

class APIException(Exception):
    status_code: int
    default_code: str
    detail: Any
    auth_header: str
    wait: float
    def __init__(self, detail: Any = None, code: str | None = None) -> None: ...

class NotAuthenticated(APIException): ...
class AuthenticationFailed(APIException): ...
