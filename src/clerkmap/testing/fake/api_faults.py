"""What goes wrong between an application and Clerk, by switches. Chance comes from the seed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .mint import Mint


@dataclass
class Faults:
    """Switches, all off."""

    keys_of: "Mint | None" = None
