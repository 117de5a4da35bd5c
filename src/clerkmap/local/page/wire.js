// The second pane: every event on its way from Clerk to the app, and what can be done to it on the way.

import { draw, h, once } from "./draw.js";
import { attempt, badge, button, clockTime, doing, time } from "./parts.js";

const STATES = {
  waiting: ["waiting", "warm"],
  held: ["held back", "warm"],
  delivered: ["delivered", "good"],
  failed: ["given up", "bad"],
  dropped: ["dropped", "bad"],
};
const CAME = {
  applied: ["applied", "good"],
  nothing_new: ["nothing new", ""],
  ignored: ["ignored", ""],
  refused: ["refused", "bad"],
};
const HOW = { made: "made", altered: "altered", deleted: "deleted", regained: "back" };

/** Everything in the pane. `shift` is how far Clerk's clock is from the reader's. */
export function wirePane({ chaos, messages }, shift) {
  // The list is newest first; what is held goes out oldest first.
  const held = messages.filter((each) => each.state === "held").reverse();
  const others = messages.filter((each) => each.state !== "held");
  return [
    switches(chaos),
    clock(shift),
    held.length > 0 && queue(held),
    others.length > 0 && h("h3", { key: "sent-title" }, held.length ? "Sent and lost " : "Events ", h("span", { class: "count" }, others.length)),
    others.length > 0 && h("ol", { class: "cards", key: "sent" }, others.map((each) => once(each, null, () => card(each)))),
    !messages.length &&
      h("p", { class: "quiet empty", key: "empty" }, "Nothing has happened yet. Each thing that does is told to the app in a signed webhook, and shows up here."),
  ];
}

function switches(chaos) {
  const odds = [["duplicate", "Send twice"], ["drop", "Lose"], ["delay", "Send late"]];
  const worse = [chaos.shuffle, chaos.offline, ...odds.map(([name]) => chaos[name] > 0)].filter(Boolean).length;
  return h(
    "div",
    { class: "switches", key: "switches" },
    flag("hold_all", "Hold back everything new", chaos.hold_all),
    h(
      "details",
      { class: "more" },
      h("summary", {}, "Make it go wrong ", worse > 0 && badge(`${worse} on`, "warm")),
      flag("offline", "The app is down: attempts fail, and come again", chaos.offline),
      flag("shuffle", "Deliver in any order", chaos.shuffle),
      odds.map(([name, label]) => chance(name, label, chaos[name])),
      h(
        "label",
        { class: "range" },
        h("span", {}, "Late by"),
        h("input", {
          type: "number", name: "delay_seconds", min: 1, step: 1, value: chaos.delay_seconds,
          onchange: (event) => event.currentTarget.value && attempt("chaos", { delay_seconds: Number(event.currentTarget.value) }),
        }),
        h("span", {}, "seconds"),
      ),
    ),
  );
}

function flag(name, label, on) {
  return h(
    "label",
    { class: "switch", key: name },
    h("input", { type: "checkbox", role: "switch", name, checked: on, onchange: (event) => attempt("chaos", { [name]: event.currentTarget.checked }) }),
    h("span", {}, label),
  );
}

function chance(name, label, value) {
  const percent = Math.round(value * 100);
  return h(
    "label",
    { class: "range", key: name },
    h("span", {}, label),
    h("input", {
      type: "range", name, min: 0, max: 100, step: 5, value: percent,
      oninput: (event) => draw(event.currentTarget.nextElementSibling, `${event.currentTarget.value} %`),
      onchange: (event) => attempt("chaos", { [name]: Number(event.currentTarget.value) / 100 }),
    }),
    h("output", { key: percent }, `${percent} %`),
  );
}

function clock(shift) {
  const moves = [["+1 min", 60, "one minute"], ["+5 min", 300, "five minutes"], ["+1 h", 3600, "one hour"], ["+1 day", 86_400, "one day"]];
  return h(
    "div",
    { class: "clock", key: "clock", role: "group", "aria-label": "Clerk's clock" },
    h("span", {}, "Clerk's clock ", h("b", { id: "clock", "data-shift": shift }, clockTime(new Date(Date.now() + shift)))),
    h("span", { class: "buttons" }, moves.map(([label, seconds, spoken]) =>
      doing(label, "advance", { seconds }, { look: "small", title: `Move Clerk's clock on by ${spoken}: what is due by then is attempted` }))),
  );
}

function queue(held) {
  return h(
    "section",
    { class: "queue", key: "queue", "aria-labelledby": "queue-title" },
    h(
      "div",
      { class: "row" },
      h("h3", { id: "queue-title", class: "grow" }, "Held back ", h("span", { class: "count" }, held.length)),
      doing("Deliver all", "deliver", {}, { look: "small", title: "From top to bottom" }),
    ),
    h("ol", { class: "cards" }, held.map((each, place) => card(each, place, held))),
  );
}

/** One event. Of those that are held, `place` is its place in the queue. */
function card(each, place, queue) {
  const about = { about: `${each.type} of ${each.about}` };
  const [state, look] = STATES[each.state];
  return h(
    "li",
    { key: each.id, class: `card message ${each.state}` },
    h("p", { class: "row" }, h("strong", { class: "grow type" }, each.type), time(each.at)),
    h("p", { class: "row" }, h("span", { class: "grow about" }, each.about), badge(state, look)),
    each.outcomes.map((outcome, number) => h("p", { key: `came-${number}`, class: "came" }, cameOf(outcome))),
    h("div", { class: "buttons" }, buttons(each, about), queue && order(each, place, queue, about)),
    h(
      "details",
      { class: "more", key: "details", ontoggle: (event) => unfold(event.currentTarget, each) },
      h("summary", {}, tries(each)),
      h("div", { class: "unfolded" }),
    ),
  );
}

/** In a word what an event came to, and why where it came to nothing. */
function cameOf(outcome) {
  const [word, look] = CAME[outcome.kind];
  const to = outcome.to === "demo" ? null : h("span", { class: "quiet" }, ` at ${outcome.to}`);
  const what = outcome.changes.map((change) => `${change.what} ${HOW[change.how]}`).join(", ");
  return [badge(word, look), to, " ", h("span", { class: "quiet" }, outcome.reason ?? what)];
}

function tries(each) {
  const count = each.attempts.length;
  const next = each.state === "waiting" && each.due ? `, next at ${clockTime(new Date(each.due))}` : "";
  return (count === 0 ? "Not attempted" : count === 1 ? "1 attempt" : `${count} attempts`) + next;
}

function buttons(each, about) {
  const message = { message: each.id };
  const small = { ...about, look: "small" };
  switch (each.state) {
    case "held":
      return [
        doing("Release", "release", message, { ...small, look: "small accent", title: "Send it now" }),
        doing("Duplicate", "duplicate", message, { ...small, title: "Send a copy now, and keep it held" }),
        doing("Drop", "drop", message, { ...small, title: "It never arrives" }),
      ];
    case "waiting":
      return [
        doing("Send now", "release", message, small),
        doing("Hold", "hold", message, small),
        doing("Drop", "drop", message, { ...small, title: "It never arrives" }),
      ];
    case "delivered":
      return [
        doing("Send again", "duplicate", message, { ...small, title: "The same event once more, as Clerk's dashboard replays it" }),
        doing("Hold", "hold", message, { ...small, title: "Put it back into the queue" }),
      ];
    default:
      return [doing("Send after all", "release", message, small), doing("Hold", "hold", message, small)];
  }
}

function order(each, place, queue, about) {
  const move = (before) => () => attempt("reorder", { message: each.id, before });
  return [
    button("↑", move(queue[place - 1]?.id ?? null), { about: `Earlier, ${about.about}`, look: "small", title: "Earlier", disabled: place === 0 }),
    button("↓", move(queue[place + 2]?.id ?? null), { about: `Later, ${about.about}`, look: "small", title: "Later", disabled: place === queue.length - 1 }),
  ];
}

/** What is unfolded is drawn only then: two hundred events are long. */
function unfold(details, each) {
  if (!details.open) return draw(details.lastElementChild);
  draw(
    details.lastElementChild,
    each.attempts.length > 0 &&
      h("ol", { class: "lines", key: "attempts", "aria-label": "Attempts" }, each.attempts.map((made) =>
        h("li", {}, time(made.at), " ", badge(made.status ?? "no answer", made.status >= 200 && made.status < 300 ? "good" : "bad")))),
    h("pre", { key: "body", tabindex: 0, "aria-label": "What is in it" }, JSON.stringify(each.body, null, 2)),
    h("p", { class: "id", key: "id" }, each.id),
  );
}

/** Unfolded events that have changed are drawn anew. */
export function refreshUnfolded(pane, messages) {
  for (const details of pane.querySelectorAll("li.message > details[open]")) {
    const each = messages.find((message) => message.id === details.parentElement.dataset.key);
    if (each) unfold(details, each);
  }
}
