// Clerk on localhost: receives snapshots from the local server, and draws the three panes.

import { clerkPane } from "./clerk.js";
import { databasePane, freshCells } from "./database.js";
import { draw, h, shared } from "./draw.js";
import { askAndDo } from "./forms.js";
import { listen } from "./live.js";
import { attempt, button, clockTime, copy, hush, tell } from "./parts.js";
import { openLook } from "./token.js";
import { wirePane } from "./wire.js";

const element = (id) => document.getElementById(id);
let snapshot = null;
let shift = 0;
let connected = null;
// Replaced at each change, so that the parts that depend on it are drawn again.
let view = { stored: false, fresh: new Set(), store };

function store(stored) {
  view = { ...view, stored };
  show();
}

function heard(said) {
  const before = snapshot;
  snapshot = shared(before, said);
  shift = said.clerk.clock - Date.now();
  if (before && before.database !== snapshot.database)
    view = { ...view, fresh: freshCells(before.database, snapshot.database) };
  show();
  announce(before, snapshot);
}

function show() {
  const { clerk, wire, database, forward } = snapshot;
  draw(element("clerk"), clerkPane(clerk));
  draw(element("wire"), wirePane(wire, Math.round(shift / 1000) * 1000, show));
  draw(element("database"), databasePane(database, wire.messages, view));
  draw(element("forward"), forward && h("span", {}, "Also sent to ", h("code", {}, forward)));
  document.body.classList.add("ready");
}

/** Announce the outcomes of new events to screen readers. */
function announce(before, after) {
  if (!before) return;
  const known = new Map(before.wire.messages.map((each) => [each.id, each]));
  const news = after.wire.messages.filter((each) => known.get(each.id) !== each).slice(0, 3);
  const words = news.map(
    (each) => `${each.type} of ${each.about}: ${(each.outcomes.at(-1)?.kind ?? each.state).replace("_", " ")}`,
  );
  if (words.length) element("news").textContent = words.join(". ");
}

function connection(there) {
  if (there === connected) return;
  const was = connected;
  connected = there;
  draw(
    element("connection"),
    h("span", { class: `dot ${there ? "good" : "bad"}` }),
    there ? "Live" : "Connection lost. Retrying …",
  );
  document.body.classList.toggle("lost", !there);
  if (was !== null)
    tell(there ? "Connected again." : "Connection lost. Check that `clerkmap dev` is running.", { error: !there });
}

function environment() {
  const { environment, publishable_key: key, issuer } = snapshot.clerk;
  const lines = Object.entries(environment)
    .map(([name, value]) => `${name}=${quoted(value)}`)
    .join("\n");
  const dialog = element("environment");
  draw(
    dialog,
    h(
      "header",
      { class: "row" },
      h("h2", { class: "grow", id: "environment-title" }, "Use with your own app"),
      button("Close", () => dialog.close(), { look: "small" }),
    ),
    h("p", { class: "quiet" }, "Start your app with these variables to connect it to this Clerk."),
    h("pre", { tabindex: 0, "aria-label": "Environment variables" }, lines),
    h(
      "div",
      { class: "buttons" },
      button("Copy", (event) => copy(lines, event), { look: "main" }),
    ),
    h(
      "dl",
      { class: "facts" },
      h("dt", {}, "publishable key"),
      h("dd", {}, key),
      h("dt", {}, "issuer"),
      h("dd", {}, issuer),
    ),
  );
  dialog.showModal();
}

/** Quote a value so that a shell and a .env file read the same text. */
function quoted(value) {
  return /^[\w@%+=:,./-]*$/.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`;
}

async function rotate() {
  if (await attempt("rotate_key")) tell("Clerk now signs with a new key.");
}

function reset() {
  askAndDo(
    "reset",
    {},
    {
      title: "Start over?",
      text: "All users, events and rows are deleted.",
      label: "Delete everything",
    },
  );
}

draw(
  element("tools"),
  button("Inspect a token", openLook),
  button("Rotate key", rotate, { title: "Sign with a new key" }),
  button("Use with your app", environment),
  button("Reset", reset),
);
element("alert-close").onclick = hush;
setInterval(() => {
  const clock = element("clock");
  if (clock) draw(clock, clockTime(new Date(Date.now() + shift)));
}, 1000);
listen(heard, connection);
