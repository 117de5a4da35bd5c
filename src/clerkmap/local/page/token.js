// The sign-in dialog: a token, all checks of the verifier, and the resulting principal.

import { draw, h } from "./draw.js";
import { ask, Refused } from "./live.js";
import { badge, button, copy, roleName, shown } from "./parts.js";

const state = { user: null, organization: "", token: "", found: null, error: null, busy: false };
const dialog = () => document.getElementById("token");

/** Sign a user in. A member of organizations chooses one first. */
export function openSignIn(user) {
  Object.assign(state, {
    user,
    organization: user.memberships[0]?.organization ?? "",
    token: "",
    found: null,
    error: null,
  });
  open();
  if (!user.memberships.length) signIn();
}

/** Inspect any token. */
export function openLook() {
  Object.assign(state, { user: null, token: "", found: null, error: null });
  open();
}

function open() {
  show();
  dialog().showModal();
  dialog().querySelector("select, textarea")?.focus();
}

function signIn() {
  const { user, organization } = state;
  return work(async () => {
    state.token = (await ask("sign_in", { user: user.id, ...(organization && { organization }) })).token;
    state.found = await ask("look", { token: state.token });
  });
}

function look() {
  return work(async () => {
    state.found = await ask("look", { token: state.token.trim() });
  });
}

async function work(does) {
  Object.assign(state, { error: null, busy: true });
  show();
  try {
    await does();
  } catch (refused) {
    if (!(refused instanceof Refused)) throw refused;
    Object.assign(state, { error: refused.message, found: null });
  } finally {
    state.busy = false;
    show();
  }
}

function show() {
  const { user, found, error } = state;
  draw(
    dialog(),
    h(
      "header",
      { class: "row" },
      h("h2", { id: "token-title", class: "grow" }, user ? `Sign in as ${user.name}` : "Inspect a token"),
      button("Close", () => dialog().close(), { look: "small" }),
    ),
    user && user.memberships.length > 0 && chooser(),
    paper(),
    h("p", { class: "error", role: "alert", key: "error" }, error ?? ""),
    found && h("div", { class: "verdict", key: "verdict", role: "status" }, verdict(found)),
    found &&
      h(
        "div",
        { class: "columns", key: "found" },
        h("section", { key: "checks" }, checks(found)),
        h("section", { key: "decoded" }, decoded(found)),
      ),
  );
}

function chooser() {
  const { user } = state;
  const options = [
    ["", "none"],
    ...user.memberships.map((held) => [held.organization, `${held.name} (${roleName(held.role)})`]),
  ];
  return h(
    "form",
    { class: "row chooser", key: "chooser", onsubmit: (event) => (event.preventDefault(), signIn()) },
    h("label", { for: "active" }, "Active organization"),
    h(
      "select",
      { id: "active", class: "grow", onchange: (event) => (state.organization = event.currentTarget.value) },
      options.map(([value, text]) => h("option", { key: value, value, selected: value === state.organization }, text)),
    ),
    h("button", { class: "main", disabled: state.busy }, state.token ? "Sign in again" : "Sign in"),
  );
}

function paper() {
  const typed = (event) => {
    state.token = event.currentTarget.value;
  };
  return h(
    "div",
    { class: "field", key: "paper" },
    h("label", { for: "pasted" }, "Token"),
    h("textarea", {
      id: "pasted",
      rows: 4,
      spellcheck: "false",
      autocomplete: "off",
      placeholder: "eyJhbGciOi…",
      value: state.token,
      oninput: typed,
    }),
    h(
      "div",
      { class: "buttons" },
      button("Inspect", look, { look: state.user ? "" : "main", disabled: state.busy }),
      button("Copy", (event) => copy(state.token, event)),
      state.user && !state.user.memberships.length && button("Sign in again", signIn, { disabled: state.busy }),
      h("span", { class: "hint" }, "The token is valid for a minute. Change a letter and inspect it again, or wait."),
    ),
  );
}

function verdict({ error, principal, status }) {
  if (error) return [badge("refused", "bad"), " ", h("code", {}, error.code), " ", h("span", {}, error.message)];
  const who = principal?.user;
  if (!who) return [badge("accepted", "good")];
  const where = principal.organization
    ? `, ${principal.role ? roleName(principal.role) : "member"} in ${principal.organization.name}`
    : "";
  return [
    badge(status < 400 ? "accepted" : "refused", status < 400 ? "good" : "bad"),
    " This is ",
    h("b", {}, who.name ?? who.email ?? "a user without a name"),
    where,
    ".",
  ];
}

const MARKS = new Map([
  [true, ["✓", "passed", "good"]],
  [false, ["✗", "failed", "bad"]],
  [null, ["–", "not reached", "quiet"]],
]);

function checks({ checks }) {
  return [
    h("h3", {}, "Checks"),
    h(
      "ol",
      { class: "checks" },
      checks.map((check) => {
        const [mark, spoken, look] = MARKS.get(check.passed ?? null);
        return h(
          "li",
          { key: check.name, class: look },
          h("span", { class: "mark", role: "img", "aria-label": spoken }, mark),
          h(
            "span",
            { class: "grow" },
            h("b", {}, check.name),
            (check.passed ?? null) === null && h("span", { class: "told" }, " (not reached)"),
            h("p", { class: "told" }, check.told),
          ),
        );
      }),
    ),
  ];
}

function principal({ user, organization, role }) {
  const lines = [
    ["user.id", user.id],
    ["user.clerk_id", user.clerk_id],
    ["user.name", user.name],
    ["user.email", user.email],
    ["user.role", user.role],
    ["organization", organization ? organization.name : null],
    ["membership.role", role],
  ];
  return h(
    "dl",
    { class: "facts" },
    lines.map(([name, value]) => [h("dt", { key: name }, name), h("dd", { key: `is ${name}` }, shown(value))]),
  );
}

function decoded(found) {
  const json = (value) => (value ? JSON.stringify(value, null, 2) : "cannot be read");
  return [
    h("h3", {}, "Principal"),
    found.principal
      ? principal(found.principal)
      : h("p", { class: "quiet" }, "None: the request never reaches the app."),
    h("h3", {}, h("code", {}, "GET /demo/me"), " ", badge(found.status, found.status < 400 ? "good" : "bad")),
    h("pre", { tabindex: 0, "aria-label": "Response" }, JSON.stringify(found.answer, null, 2)),
    h("h3", {}, "Header"),
    h("pre", { tabindex: 0, "aria-label": "Header" }, json(found.header)),
    h("h3", {}, "Payload"),
    h("pre", { tabindex: 0, "aria-label": "Payload" }, json(found.payload)),
  ];
}
