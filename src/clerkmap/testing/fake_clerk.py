"""A Clerk in your test's own process: people, organizations, real signed tokens and webhooks, all from one seed."""

import threading
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Any

from ..auth.verifier import Verifier
from ..core.instance import Instance
from ..core.records import ClerkUser
from .clock import Clock
from .fake.api import Api
from .fake.api_faults import Faults
from .fake.asgi import ClerkApp
from .fake.objects import FakeUser
from .fake.shapes import image_url
from .fake.signed_requests import Callers
from .fake.tokens import ORIGIN
from .fake.webhook_delivery import Delivery

if TYPE_CHECKING:
    from .fake.transport import ClerkTransport

__all__ = ["ORIGIN", "FakeClerk"]

_making = threading.Lock()


class FakeClerk(Callers):
    """One Clerk environment. Two of the same seed make the same ids, keys and tokens.

    Args:
        seed: What everything is made from.
        clock: The time that tokens are made at; the real one by default.
        algorithm: What tokens are signed with. Clerk signs with RS256; others serve `oidc_token`.
        kid: The id of the signing key. As at Clerk, it is the instance's own, unless you choose.
        host: The host of its front-end API; made from the seed by default.
        ids: Any text. Two of the same seed have the same keys and secrets; with another text they have other people.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        clock: Clock | None = None,
        algorithm: str = "RS256",
        kid: str | None = None,
        host: str | None = None,
        ids: str = "",
    ) -> None:
        clock = Clock() if clock is None else clock
        super().__init__(seed, clock, algorithm=algorithm, kid=kid, host=host, ids=ids)
        self.secret_key: str = f"sk_test_{Random(f'sk {seed}').randbytes(20).hex()}"
        self.faults: Faults = Faults()
        self.api: Api = Api(self)
        self.app: ClerkApp = ClerkApp(self.api, self.clock, (self.frontend_api, "api.clerk.com"))
        self._instance: Instance | None = None
        self._instance_of: object = None

    @property
    def instance(self) -> Instance:
        """This environment as clerkmap sees it, with its keys and secrets in hand: no socket is opened."""
        with _making:  # of several threads that ask at once, all are to be given the same
            secrets = self.published_keys(), self.wire.secrets
            if self._instance is None or self._instance_of != secrets:
                self._instance, self._instance_of = self.make_instance(), secrets
            return self._instance

    def make_instance(self, **options: Any) -> Instance:
        """The same with options of `Instance`; `jwks=None` leaves the keys to be fetched."""
        settings: dict[str, Any] = {
            "publishable_key": self.publishable_key,
            "secret_key": self.secret_key,
            "jwks": self.jwks(),
            "webhook_secrets": self.wire.secrets,
            "instance_id": self.instance_id,
            **options,
        }
        return Instance(**settings)

    def make_oidc_instance(self, audience: str, **options: Any) -> Instance:
        """This environment as if it were another OpenID provider."""
        settings: dict[str, Any] = {"issuer": self.issuer, "audience": audience, "jwks": self.jwks(), **options}
        return Instance.oidc(**settings)

    def environment(self) -> dict[str, str]:
        """Clerk's environment variables, as `Instance.from_env` reads them. The keys are in them: none is fetched."""
        return {
            "CLERK_PUBLISHABLE_KEY": self.publishable_key,
            "CLERK_SECRET_KEY": self.secret_key,
            "CLERK_JWT_KEY": self.key.pem(),
            "CLERK_WEBHOOK_SIGNING_SECRET": ",".join(self.wire.secrets),
        }

    def verifier(self, **policy: Any) -> Verifier:
        """A verifier of `instance` that goes by this environment's clock."""
        return Verifier(self.instance, clock=self.clock, **policy)

    def transport(self) -> "ClerkTransport":
        """The API and the keys for httpx, without a socket: `httpx.Client(transport=clerk.transport())`."""
        from .fake.transport import ClerkTransport  # here, not above: who asks nothing needs no httpx

        return ClerkTransport(self.api, self.clock)

    def record(self, user: FakeUser, **said: Any) -> ClerkUser:
        """What Clerk would say now of a person, and with it whatever you add: `banned=True`."""
        now = self.moment()
        address = user.primary_address
        profile: dict[str, Any] = {
            "email": user.email,
            "email_verified": address is not None and address.verified,
            "first_name": user.first_name,
            "last_name": user.last_name,
            "username": user.username,
            "image_url": image_url(user.id),
            "external_id": user.external_id,
            "banned": user.banned or user.deprovisioned,
            "public_metadata": user.public_metadata,
            "created_at": user.created_at,
        }
        return ClerkUser.full(self.instance.name, user.id, observed_at=now, updated_at=now, **(profile | said))

    def deliveries(
        self, *, shuffle: bool = False, duplicate: float = 0, drop: float = 0, late: float = 0
    ) -> Iterator[Delivery]:
        """The webhooks that are due, each once: signed, and in the order in which things happened.

        `duplicate`, `drop` and `late` are chances from 0 to 1: what is dropped never comes, what is late comes after
        all the others. A delivery counts as taken in; say `delivery.failed()`, and it comes again in its time.
        """
        return self.wire.deliveries(shuffle=shuffle, duplicate=duplicate, drop=drop, late=late)
