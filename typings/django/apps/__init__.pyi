from typing import Any

class AppConfig:
    name: str
    label: str
    verbose_name: str
    default_auto_field: str
    def ready(self) -> None: ...

def __getattr__(name: str) -> Any: ...
