// The first pane: users and organizations, with a button for each action.

import { h, once } from "./draw.js";
import { askAndDo, askFor } from "./forms.js";
import { ask } from "./live.js";
import { metadata, newOrganization, organization, roleField } from "./organizations.js";
import { badge, button, doing, roleName } from "./parts.js";
import { openSignIn } from "./token.js";

const SUGGESTED = [
  ["Ada", "Lovelace"],
  ["Grace", "Hopper"],
  ["Alan", "Turing"],
  ["Mary", "Somerville"],
  ["Edsger", "Dijkstra"],
  ["Katherine", "Johnson"],
  ["Donald", "Knuth"],
];

/** Everything in the pane. */
export function clerkPane({ users, organizations, roles }) {
  if (!users.length && !organizations.length) return [welcome(users)];
  return [
    h(
      "div",
      { class: "buttons", key: "tools" },
      button("Sign up", () => signUp(users), { look: "main", title: "Sign up a new user at Clerk" }),
      button("New organization", () => newOrganization(users)),
    ),
    h("h3", { key: "people" }, "Users ", h("span", { class: "count" }, users.length)),
    users.length
      ? h(
          "ul",
          { class: "cards", key: "users" },
          users.map((user) => once(user, organizations, () => person(user, organizations, roles))),
        )
      : h("p", { class: "quiet", key: "nobody" }, "No users."),
    h("h3", { key: "organizations" }, "Organizations ", h("span", { class: "count" }, organizations.length)),
    organizations.length
      ? h(
          "ul",
          { class: "cards", key: "all" },
          organizations.map((each) => once(each, users, () => organization(each, users, roles))),
        )
      : h("p", { class: "quiet", key: "none" }, "None yet. The user that creates one becomes its first member."),
  ];
}

function welcome(users) {
  return h(
    "div",
    { class: "welcome", key: "welcome" },
    h(
      "p",
      { class: "lead" },
      "This is a fake Clerk. A user that signs up here is sent to an app by webhook, and becomes a row there.",
    ),
    button("Sign up the first user", () => signUp(users), { look: "main large" }),
    h(
      "ol",
      { class: "steps" },
      step("Sign up a user", " here. No data leaves this machine, and Reset deletes everything."),
      step(
        "The wire",
        " shows each event from Clerk to your app, and its outcome. Hold an event back, drop it, or send it twice.",
      ),
      step("Your database", " shows the resulting row, which ends up correct after any fault on the wire."),
    ),
  );
}

function step(name, text) {
  return h("li", {}, h("span", {}, h("b", {}, name), text));
}

function signUp(users) {
  const taken = new Set(users.map((user) => user.email));
  const free = SUGGESTED.filter(([first]) => !taken.has(`${first.toLowerCase()}@example.com`));
  const [first, last] = free[0] ?? ["Person", String(users.length + 1)];
  const email = free.length ? `${first.toLowerCase()}@example.com` : `person${users.length + 1}@example.com`;
  askAndDo(
    "sign_up",
    {},
    {
      title: "Sign up",
      text: "A fake user. Change any field.",
      label: "Sign up",
      fields: [
        { name: "first_name", label: "First name", value: first },
        { name: "last_name", label: "Last name", value: last },
        { name: "email", label: "E-mail address", value: email, type: "email", required: true },
      ],
    },
  );
}

function person(user, organizations, roles) {
  const about = { about: user.name };
  const joinable = organizations.filter((each) => !user.memberships.some((held) => held.organization === each.id));
  return h(
    "li",
    { key: user.id, class: "card" },
    h(
      "p",
      { class: "name" },
      h("strong", {}, user.name),
      user.banned && badge("banned", "bad"),
      user.locked && badge("locked", "bad"),
    ),
    h("p", { class: "quiet" }, user.email ?? "no e-mail address", user.email && !user.verified && " (not verified)"),
    user.memberships.length > 0 &&
      h(
        "ul",
        { class: "lines", "aria-label": `Organizations of ${user.name}` },
        user.memberships.map((held) =>
          h(
            "li",
            { key: held.organization },
            h("span", { class: "grow" }, roleName(held.role), " in ", h("b", {}, held.name)),
            doing(
              "Remove",
              "remove_member",
              { organization: held.organization, user: user.id },
              { about: `${user.name} of ${held.name}`, look: "small" },
            ),
          ),
        ),
      ),
    h(
      "div",
      { class: "buttons" },
      button("Sign in", () => openSignIn(user), {
        ...about,
        look: "accent",
        title: "Get a session token, and see how it is verified",
      }),
      button("Edit", () => editUser(user), about),
      joinable.length > 0 && button("Add to organization", () => addMember(user, joinable, roles), about),
      user.banned ? doing("Unban", "unban", { user: user.id }, about) : doing("Ban", "ban", { user: user.id }, about),
      doing("Delete", "delete_user", { user: user.id }, { ...about, look: "bad" }),
    ),
    h(
      "details",
      { class: "more" },
      h("summary", {}, "Sessions and metadata"),
      sessions(user),
      h(
        "div",
        { class: "buttons" },
        button("Change metadata", () => metadata("user", user), { ...about, look: "small" }),
      ),
      h("p", { class: "id" }, user.id),
    ),
  );
}

function sessions(user) {
  if (!user.sessions.length) return h("p", { class: "quiet" }, "No session: sign in first.");
  return h(
    "ul",
    { class: "lines", "aria-label": `Sessions of ${user.name}` },
    user.sessions.map((each) => {
      const about = { about: `session of ${user.name}`, look: "small" };
      const live = each.status === "active" || each.status === "pending";
      return h(
        "li",
        { key: each.id },
        h("span", { class: "grow" }, h("code", {}, each.id), " ", badge(each.status, live ? "good" : "")),
        live && doing("End", "end_session", { session: each.id }, about),
        live && doing("Revoke", "revoke_session", { session: each.id }, about),
      );
    }),
  );
}

function editUser(user) {
  askFor({
    title: `Edit ${user.name}`,
    label: "Save",
    fields: [
      { name: "first_name", label: "First name", value: user.first_name },
      { name: "last_name", label: "Last name", value: user.last_name },
      { name: "email", label: "E-mail address", value: user.email, type: "email" },
    ],
    submit: (given) => {
      const changed = Object.entries({ first_name: "", last_name: "", ...given }).filter(
        ([name, value]) => value !== (user[name] ?? ""),
      );
      return ask("edit_user", { user: user.id, ...Object.fromEntries(changed) });
    },
  });
}

function addMember(user, organizations, roles) {
  askAndDo(
    "add_member",
    { user: user.id },
    {
      title: `Add ${user.name} to an organization`,
      label: "Add",
      fields: [
        { name: "organization", label: "Organization", options: organizations.map((each) => [each.id, each.name]) },
        roleField(roles),
      ],
    },
  );
}
