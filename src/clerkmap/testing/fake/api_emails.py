"""The API of e-mail addresses."""

from .api_requests import Call, Json, Route, Routes, invalid, missing
from .api_users import address_in
from .objects import FakeAddress, FakeUser
from .shapes import address_shape, deleted_shape

_FIELDS = ("verified", "primary", "notify_primary_email_address_changed")


def create_address(call: Call) -> Json:
    """Another address for a person. It is not verified unless that is said; the first one of all is the primary one."""
    said = call.said("user_id", "email_address", *_FIELDS)
    user, verified = call.user(said.needed("user_id")), bool(said.flag("verified"))
    primary = _primary(said.flag("primary"), verified)
    text = address_in(said.needed("email_address"))
    return address_shape(call.clerk.add_address(user, text, verified=verified, primary=primary or not user.addresses))


def get_address(call: Call) -> Json:
    """One address."""
    return address_shape(_found(call)[1])


def update_address(call: Call) -> Json:
    """An address that is verified now, or the primary one."""
    user, address = _found(call)
    said = call.said(*_FIELDS)
    verified = said.flag("verified")
    verified = address.verified if verified is None else verified
    primary = _primary(said.flag("primary"), verified)
    address.verified, address.updated_at = verified, call.clerk.moment()
    call.clerk.update_user(user, **({"primary_address_id": address.id} if primary else {}))
    return address_shape(address)


def delete_address(call: Call) -> Json:
    """What is left of an address."""
    user, address = _found(call)
    call.clerk.remove_address(user, address)
    return deleted_shape("email_address", address.id)


def _primary(asked: bool | None, verified: bool) -> bool:
    if asked and not verified:
        raise invalid("primary", "needs an address that is verified")
    return bool(asked)


def _found(call: Call) -> tuple[FakeUser, FakeAddress]:
    for user in call.clerk.users.values():
        for address in user.addresses:
            if address.id == call.ids[0]:
                return user, address
    raise missing("Email address")


ROUTES: Routes = [
    Route("POST", "/email_addresses", create_address),
    Route("GET", "/email_addresses/{}", get_address),
    Route("PATCH", "/email_addresses/{}", update_address),
    Route("DELETE", "/email_addresses/{}", delete_address),
]
