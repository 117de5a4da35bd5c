"""The API of organizations."""

from collections.abc import Callable
from typing import Any

from .api_lists import Order, asked_for, choose, page
from .api_requests import Call, Json, Route, Routes
from .api_users import WITHOUT_METADATA, metadata_in
from .objects import ClerkRefuses, FakeOrganization
from .shapes import Shape, deleted_shape, organization_shape

ORDERS = ("created_at", "name", "members_count")
METADATA = ("public_metadata", "private_metadata")
LONGEST_NAME = 256


def list_organizations(call: Call) -> Json:
    """A page of organizations, with the number of all."""
    order = Order(call.query, ORDERS)
    rows = call.lists.get(asked_for(call.query, "organizations"), lambda: _listed(call, order.name))
    return {"data": [_shape(call, each) for each in page(call.query, rows, order)], "total_count": len(rows)}


def _listed(call: Call, order: str) -> list[FakeOrganization]:
    everyone = call.clerk.organizations
    found = set(everyone)
    wanted, unwanted = choose(call.query.all("organization_id"))
    found = (found & wanted if wanted else found) - unwanted
    members, others = choose(call.query.all("user_id"))
    found = (found & _places(call, members) if members else found) - _places(call, others)
    rows = [everyone[each] for each in found]
    if text := (call.query.one("query") or "").lower():
        rows = [each for each in rows if each.id.lower() == text or text in f"{each.name}\n{each.slug}".lower()]
    return sorted(rows, key=_rank(call, order))


def _places(call: Call, user_ids: set[str]) -> set[str]:
    users = [call.clerk.users[each] for each in user_ids if each in call.clerk.users]
    return {place.organization_id for user in users for place in call.clerk.memberships_of(user)}


def _rank(call: Call, order: str) -> Callable[[FakeOrganization], tuple[Any, str]]:
    if order == "members_count":
        return lambda each: (len(call.clerk.members_of(each)), each.id)
    return lambda each: (getattr(each, order), each.id)


def _shape(call: Call, organization: FakeOrganization) -> Shape:
    """With its members counted, if that was asked for."""
    if call.query.flag("include_members_count"):
        return call.clerk.counted_shape(organization)
    return organization_shape(organization)


def get_organization(call: Call) -> Json:
    """One organization, by its id or its slug."""
    return _shape(call, call.organization())


def create_organization(call: Call) -> Json:
    """A new organization. Whoever it was created by is its administrator; without anybody it has no members."""
    said = call.said("name", "created_by", "slug", "max_allowed_memberships", "created_at", *METADATA, "role_set_key")
    created_by = said.text("created_by")
    most = said.number("max_allowed_memberships")
    metadata: Shape = {name: said.metadata(name) for name in METADATA}
    organization = call.clerk.create_organization(
        _name(said.needed("name")),
        slug=said.text("slug") or None,
        created_by=call.user(created_by) if created_by else None,
        max_allowed_memberships=5 if most is None else most,
        created_at=said.moment("created_at"),
        **metadata,
    )
    return organization_shape(organization)


def update_organization(call: Call) -> Json:
    """An organization with another name. Metadata were taken here up to 2025, and replaced what was there."""
    organization = call.organization()
    metadata = METADATA if call.version < WITHOUT_METADATA else ()
    own = ("name", "slug", "max_allowed_memberships", "admin_delete_enabled", "created_at")
    said = call.said(*own, "role_set_key", *metadata)
    changed: Shape = {
        "name": _name(said.text("name") or "") or None,
        "slug": said.text("slug"),
        "max_allowed_memberships": said.number("max_allowed_memberships"),
        "admin_delete_enabled": said.flag("admin_delete_enabled"),
        "created_at": said.moment("created_at"),
    }
    replaced = {name: said.metadata(name) or {} for name in said.given(*metadata)}
    given = {name: value for name, value in changed.items() if value is not None}
    call.clerk.update_organization(organization, **given)
    if replaced:
        call.clerk.replace_metadata(organization, **replaced)
    return organization_shape(organization)


def _name(name: str) -> str:
    if len(name) > LONGEST_NAME:
        said = f"name has at most {LONGEST_NAME} characters"
        raise ClerkRefuses(422, "form_param_max_length_exceeded", said, "name")
    return name


def delete_organization(call: Call) -> Json:
    """What is left of an organization."""
    organization = call.organization()
    call.clerk.delete_organization(organization)
    return deleted_shape("organization", organization.id, slug=organization.slug)


def merge_metadata(call: Call) -> Json:
    """Metadata merged into those that are there, at every level."""
    organization = call.organization()
    call.clerk.merge_metadata(organization, **metadata_in(call.said(*METADATA)))
    return organization_shape(organization)


def replace_metadata(call: Call) -> Json:
    """Each kind of metadata that is given, in place of what was there."""
    organization = call.organization()
    call.clerk.replace_metadata(organization, **metadata_in(call.said(*METADATA)))
    return organization_shape(organization)


ROUTES: Routes = [
    Route("GET", "/organizations", list_organizations, "list"),
    Route("POST", "/organizations", create_organization),
    Route("GET", "/organizations/{}", get_organization),
    Route("PATCH", "/organizations/{}", update_organization, "change"),
    Route("DELETE", "/organizations/{}", delete_organization),
    Route("PATCH", "/organizations/{}/metadata", merge_metadata, "change"),
    Route("PUT", "/organizations/{}/metadata", replace_metadata, "change"),
]
