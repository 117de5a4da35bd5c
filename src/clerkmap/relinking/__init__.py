"""Moving people from one instance to another: from development to production, or from another provider.

    plan = plan_relink(repository, from_="dev.example.com", to="example.com", by="external_id")
    done = apply_relink(repository, plan)

A move ties a person's identity in the new instance to the user of yours that the old one leads to. The old identity
stays, and so does the row of the user that the new one led to until then. All of it goes by what is stored of both
instances; Clerk is not asked. Whoever could be two people is moved to neither.
"""

from .moves import REASONS, By, Move, Reason, Refusal, Relink, Tell, Way
from .plans import apply_relink, plan_relink

__all__ = ["REASONS", "By", "Move", "Reason", "Refusal", "Relink", "Tell", "Way", "apply_relink", "plan_relink"]
