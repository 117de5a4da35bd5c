// The faults of the wire, in the second pane: switches, probabilities, and a clock that can be advanced.

import { draw, h } from "./draw.js";
import { attempt, badge, clockTime, doing } from "./parts.js";

/** The switches for faults. */
export function switches(chaos) {
  const odds = [
    ["duplicate", "Send twice"],
    ["drop", "Drop"],
    ["delay", "Send late"],
  ];
  const worse = [chaos.shuffle, chaos.offline, ...odds.map(([name]) => chaos[name] > 0)].filter(Boolean).length;
  return h(
    "div",
    { class: "switches", key: "switches" },
    flag("hold_all", "Hold back all new events", chaos.hold_all),
    h(
      "details",
      { class: "more" },
      h("summary", {}, "Faults ", worse > 0 && badge(`${worse} on`, "warm")),
      flag("offline", "The app is down: attempts fail, and are retried", chaos.offline),
      flag("shuffle", "Deliver in any order", chaos.shuffle),
      odds.map(([name, label]) => chance(name, label, chaos[name])),
      h(
        "label",
        { class: "range" },
        h("span", {}, "Delay"),
        h("input", {
          type: "number",
          name: "delay_seconds",
          min: 1,
          step: 1,
          value: chaos.delay_seconds,
          onchange: (event) =>
            event.currentTarget.value && attempt("chaos", { delay_seconds: Number(event.currentTarget.value) }),
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
    h("input", {
      type: "checkbox",
      role: "switch",
      name,
      checked: on,
      onchange: (event) => attempt("chaos", { [name]: event.currentTarget.checked }),
    }),
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
      type: "range",
      name,
      min: 0,
      max: 100,
      step: 5,
      value: percent,
      oninput: (event) => draw(event.currentTarget.nextElementSibling, `${event.currentTarget.value} %`),
      onchange: (event) => attempt("chaos", { [name]: Number(event.currentTarget.value) / 100 }),
    }),
    h("output", { key: percent }, `${percent} %`),
  );
}

/** Clerk's clock, and buttons that advance it. */
export function clock(shift) {
  const moves = [
    ["+1 min", 60, "one minute"],
    ["+5 min", 300, "five minutes"],
    ["+1 h", 3600, "one hour"],
    ["+1 day", 86_400, "one day"],
  ];
  return h(
    "div",
    { class: "clock", key: "clock", role: "group", "aria-label": "Clerk's clock" },
    h(
      "span",
      {},
      "Clerk's clock ",
      h("b", { id: "clock" }, clockTime(new Date(Date.now() + shift))),
      " ",
      h("span", { class: "quiet" }, ahead(shift)),
    ),
    h(
      "span",
      { class: "buttons" },
      moves.map(([label, seconds, spoken]) =>
        doing(
          label,
          "advance",
          { seconds },
          { look: "small", title: `Advance Clerk's clock by ${spoken}: deliveries that are due by then are attempted` },
        ),
      ),
    ),
  );
}

/** The shift of the clock in the two largest units, such as "1 d 2 h ahead". A few seconds are no shift. */
function ahead(shift) {
  let rest = Math.round(Math.abs(shift) / 1000);
  if (rest < 5) return "";
  const parts = [
    [86_400, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ].map(([size, unit]) => {
    const count = Math.floor(rest / size);
    rest -= count * size;
    return count && `${count} ${unit}`;
  });
  return `${parts.filter(Boolean).slice(0, 2).join(" ")} ${shift > 0 ? "ahead" : "behind"}`;
}
