// The small parts that all panes are made of: buttons that do something, times, lists of words, news.

import { h } from "./draw.js";
import { ask } from "./live.js";

let fading = 0;

/** Say something for a while; an error stays until it is closed or something goes well. */
export function tell(text, { error = false } = {}) {
  clearTimeout(fading);
  const alert = document.getElementById("alert");
  alert.hidden = false;
  alert.classList.toggle("bad", error);
  document.getElementById("alert-text").textContent = text;
  if (!error) fading = setTimeout(hush, 4000);
}

/** Take away what was said. */
export function hush() {
  document.getElementById("alert").hidden = true;
}

/** Ask the server, and show what it says if that is no. Tells whether it was done. */
export async function attempt(action, details) {
  try {
    await ask(action, details);
    hush();
    return true;
  } catch (refused) {
    tell(refused.message, { error: true });
    return false;
  }
}

/** A button; `about` says to those who cannot see it whom or what it is about. */
export function button(label, onclick, { about, spoken = label, look, title, disabled } = {}) {
  return h(
    "button",
    {
      type: "button",
      class: look,
      onclick,
      title,
      disabled,
      "data-does": spoken,
      "aria-label": about ? `${spoken}: ${about}` : null,
    },
    label,
  );
}

/** A button that asks the server for one thing. */
export function doing(label, action, details, settings) {
  return button(label, () => attempt(action, details), settings);
}

/** The time in the reader's own time zone, with the day where it is not today. */
export function time(ms) {
  const date = new Date(ms);
  const today = date.toDateString() === new Date().toDateString();
  const day = today ? "" : `${date.toLocaleDateString(undefined, { day: "numeric", month: "short" })} `;
  return h("time", { datetime: date.toISOString(), title: date.toLocaleString() }, day + clockTime(date));
}

/** Hours, minutes and seconds of a date. */
export function clockTime(date) {
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((each) => String(each).padStart(2, "0")).join(":");
}

/** A small label. */
export function badge(text, look) {
  return h("span", { class: `badge ${look ?? ""}` }, text);
}

/** A value as JSON would have it, but empty where there is none. */
export function shown(value) {
  if (value === null || value === undefined) return h("span", { class: "none" }, "null");
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** A long name that may be broken where its words meet. */
export function broken(name) {
  return name.split(/(?<=[_.])|(?=[A-Z])/).flatMap((word, place) => (place ? [h("wbr"), word] : [word]));
}

/** A role without the prefix they all have. */
export function roleName(role) {
  return role.replace(/^org:/, "");
}

/** Copy a text, and say so on the button. */
export async function copy(text, event) {
  const pressed = event.currentTarget;
  const label = pressed.textContent;
  try {
    await navigator.clipboard.writeText(text);
    pressed.textContent = "Copied";
  } catch {
    tell("The browser did not let the page copy. Select the text, and copy it yourself.", { error: true });
    return;
  }
  setTimeout(() => (pressed.textContent = label), 1500);
}
