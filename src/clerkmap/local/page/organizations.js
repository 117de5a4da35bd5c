// Organizations, in the first pane: their members, invitations and actions.

import { h } from "./draw.js";
import { askAndDo, askFor } from "./forms.js";
import { ask, Refused } from "./live.js";
import { badge, button, doing, roleName } from "./parts.js";

/** The card of an organization. */
export function organization(each, users, roles) {
  const about = { about: each.name };
  const others = users.filter((user) => !each.members.some((member) => member.user === user.id));
  return h(
    "li",
    { key: each.id, class: "card" },
    h("p", { class: "name" }, h("strong", {}, each.name), h("span", { class: "quiet" }, each.slug)),
    h(
      "ul",
      { class: "lines", "aria-label": `Members and invitations of ${each.name}` },
      each.members.map((member) =>
        h(
          "li",
          { key: member.user },
          h("span", { class: "grow" }, member.name, " ", h("span", { class: "quiet" }, roleName(member.role))),
          doing(
            "Remove",
            "remove_member",
            { organization: each.id, user: member.user },
            { about: `${member.name} of ${each.name}`, look: "small" },
          ),
        ),
      ),
      each.invitations.map((invitation) =>
        h(
          "li",
          { key: invitation.id },
          h(
            "span",
            { class: "grow" },
            invitation.email,
            " ",
            badge(invitation.status === "pending" ? "invited" : invitation.status),
          ),
          invitation.status === "pending" && [
            doing(
              "Accept",
              "accept_invitation",
              { invitation: invitation.id },
              { about: invitation.email, look: "small" },
            ),
            doing(
              "Revoke",
              "revoke_invitation",
              { invitation: invitation.id },
              { about: invitation.email, look: "small" },
            ),
          ],
        ),
      ),
    ),
    h(
      "div",
      { class: "buttons" },
      button("Invite", () => invite(each, roles), about),
      others.length > 0 && button("Add member", () => addTo(each, others, roles), about),
      button("Rename", () => rename(each), about),
      button("Metadata", () => metadata("organization", each), about),
      doing("Delete", "delete_organization", { organization: each.id }, { ...about, look: "bad" }),
    ),
  );
}

/** Ask for a new organization. */
export function newOrganization(users) {
  askAndDo(
    "create_organization",
    {},
    {
      title: "New organization",
      label: "Create",
      fields: [
        { name: "name", label: "Name", value: "Acme", required: true },
        {
          name: "created_by",
          label: "Created by",
          options: users.map((user) => [user.id, user.name]),
          hint: "This user becomes the first member, as admin.",
        },
      ],
    },
  );
}

function invite(each, roles) {
  askAndDo(
    "invite",
    { organization: each.id },
    {
      title: `Invite a user to ${each.name}`,
      label: "Invite",
      fields: [
        { name: "email", label: "E-mail address", type: "email", required: true, value: "invited@example.com" },
        roleField(roles),
      ],
    },
  );
}

function addTo(each, users, roles) {
  askAndDo(
    "add_member",
    { organization: each.id },
    {
      title: `Add a member to ${each.name}`,
      label: "Add",
      fields: [{ name: "user", label: "User", options: users.map((user) => [user.id, user.name]) }, roleField(roles)],
    },
  );
}

function rename(each) {
  askAndDo(
    "edit_organization",
    { organization: each.id },
    {
      title: `Rename ${each.name}`,
      label: "Save",
      fields: [{ name: "name", label: "Name", value: each.name, required: true }],
    },
  );
}

/** A field for a role. */
export function roleField(roles) {
  return { name: "role", label: "Role", value: "org:member", options: roles.map((role) => [role, roleName(role)]) };
}

/** Ask for a change to the public metadata of a user or an organization. */
export function metadata(what, thing) {
  askFor({
    title: `Metadata of ${thing.name}`,
    text: "The JSON is merged into the public metadata; null removes a key.",
    label: "Merge",
    fields: [{ name: "patch", label: "Public metadata, as JSON", type: "textarea", value: '{"plan": "pro"}' }],
    submit: ({ patch }) => ask("set_metadata", { [what]: thing.id, public_metadata: parsed(patch) }),
  });
}

function parsed(text) {
  try {
    return JSON.parse(text ?? "");
  } catch (error) {
    throw new Refused(`The text is not JSON: ${error.message}`);
  }
}
