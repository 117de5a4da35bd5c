// The small parts of all panes: buttons, times, badges and alerts.

import { h } from "./draw.js";
import { ask } from "./live.js";

let fading = 0;

/** Show an alert for some seconds. An error stays until it is closed or an action succeeds. */
export function tell(text, { error = false } = {}) {
  clearTimeout(fading);
  const alert = document.getElementById("alert");
  alert.hidden = false;
  alert.classList.toggle("bad", error);
  document.getElementById("alert-text").textContent = text;
  if (!error) fading = setTimeout(hush, 4000);
}

/** Hide the alert. */
export function hush() {
  document.getElementById("alert").hidden = true;
}

/** Send an action, and show the error if the server refuses it. Return whether it succeeded. */
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

/** A button. `about` names its subject for screen readers. */
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

/** A button that sends one action to the server. */
export function doing(label, action, details, settings) {
  return button(label, () => attempt(action, details), settings);
}

/** A time in the browser's time zone, with the date unless it is today. */
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

/** A value as text: a string unchanged, any other value as JSON. */
export function shown(value) {
  if (value === null || value === undefined) return h("span", { class: "none" }, "null");
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** A long name with line breaks allowed between its words. */
export function broken(name) {
  return name.split(/(?<=[_.])|(?=[A-Z])/).flatMap((word, place) => (place ? [h("wbr"), word] : [word]));
}

/** A role without the prefix "org:". */
export function roleName(role) {
  return role.replace(/^org:/, "");
}

/** Copy a text, and confirm it on the button. */
export async function copy(text, event) {
  const pressed = event.currentTarget;
  const label = pressed.textContent;
  try {
    await navigator.clipboard.writeText(text);
    pressed.textContent = "Copied";
  } catch {
    tell("The browser refused access to the clipboard. Select the text and copy it yourself.", { error: true });
    return;
  }
  setTimeout(() => (pressed.textContent = label), 1500);
}
