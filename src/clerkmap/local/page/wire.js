// The second pane: the events from Clerk to the app, with the actions on each.

import { clock, switches } from "./chaos.js";
import { h, once } from "./draw.js";
import { attempt, badge, broken, button, clockTime, doing, time } from "./parts.js";

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
const HOW = { made: "made", altered: "altered", deleted: "deleted", regained: "restored" };

const unfolded = new Set(); // the ids of the events with open details
let redraw = () => {};

/** The whole pane. `shift` is the lead of Clerk's clock over the browser's, in ms; `again` draws the pane again. */
export function wirePane({ chaos, messages }, shift, again) {
  redraw = again;
  // The list is newest first; held events are sent oldest first.
  const held = messages.filter((each) => each.state === "held").reverse();
  const others = messages.filter((each) => each.state !== "held");
  return [
    switches(chaos),
    clock(shift),
    held.length > 0 && queue(held),
    others.length > 0 &&
      h(
        "h3",
        { key: "sent-title" },
        held.length ? "Sent and lost " : "Events ",
        h("span", { class: "count" }, others.length),
      ),
    others.length > 0 &&
      h(
        "ol",
        { class: "cards", key: "sent" },
        others.map((each) => once(each, unfolded.has(each.id), () => card(each))),
      ),
    !messages.length &&
      h(
        "p",
        { class: "quiet empty", key: "empty" },
        "No events yet. Each change is sent to the app as a signed webhook, and appears here.",
      ),
  ];
}

function queue(held) {
  return h(
    "section",
    { class: "queue", key: "queue", "aria-labelledby": "queue-title" },
    h(
      "div",
      { class: "row" },
      h("h3", { id: "queue-title", class: "grow" }, "Held back ", h("span", { class: "count" }, held.length)),
      doing("Deliver all", "deliver", {}, { look: "small", title: "In this order" }),
    ),
    h(
      "ol",
      { class: "cards" },
      held.map((each, place) => card(each, place, held)),
    ),
  );
}

function unfold(id, open) {
  if (unfolded.has(id) === open) return;
  if (open) unfolded.add(id);
  else unfolded.delete(id);
  redraw();
}

/** One event. `place` is the position of a held event in the queue. */
function card(each, place, queue) {
  const about = { about: `${each.type} of ${each.about}` };
  const [state, look] = STATES[each.state];
  return h(
    "li",
    { key: each.id, class: `card message ${each.state}` },
    h("p", { class: "row" }, h("strong", { class: "grow type" }, broken(each.type)), time(each.at)),
    h("p", { class: "row" }, h("span", { class: "grow about" }, each.about), badge(state, look)),
    each.outcomes.map((outcome, number) => h("p", { key: `came-${number}`, class: "came" }, cameOf(outcome))),
    h("div", { class: "buttons" }, buttons(each, about), queue && order(each, place, queue, about)),
    h(
      "details",
      { class: "more", open: unfolded.has(each.id), ontoggle: (event) => unfold(each.id, event.currentTarget.open) },
      h("summary", {}, tries(each)),
      // Drawn only when open: the contents of two hundred events are long.
      unfolded.has(each.id) && [
        each.attempts.length > 0 && attempts(each.attempts),
        h("pre", { tabindex: 0, "aria-label": "Content" }, JSON.stringify(each.body, null, 2)),
        h("p", { class: "id" }, each.id),
      ],
    ),
  );
}

/** The outcome of an event, with the reason if it had no effect. */
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
        doing("Send again", "duplicate", message, {
          ...small,
          title: "Send the event again, like a replay on Clerk's dashboard",
        }),
        doing("Hold", "hold", message, { ...small, title: "Put it back into the queue" }),
      ];
    default:
      return [doing("Send anyway", "release", message, small), doing("Hold", "hold", message, small)];
  }
}

function order(each, place, queue, about) {
  const move = (before) => () => attempt("reorder", { message: each.id, before });
  return [
    button("↑", move(queue[place - 1]?.id ?? null), {
      ...about,
      spoken: "Earlier",
      look: "small",
      title: "Earlier",
      disabled: place === 0,
    }),
    button("↓", move(queue[place + 2]?.id ?? null), {
      ...about,
      spoken: "Later",
      look: "small",
      title: "Later",
      disabled: place === queue.length - 1,
    }),
  ];
}

function attempts(made) {
  return h(
    "ol",
    { class: "lines", "aria-label": "Attempts" },
    made.map((each) => {
      const good = each.status >= 200 && each.status < 300;
      return h("li", {}, time(each.at), " ", badge(each.status ?? "no response", good ? "good" : "bad"));
    }),
  );
}
