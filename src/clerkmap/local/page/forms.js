// A dialog that asks for values and sends a request. It stays open until the request has succeeded.

import { draw, h } from "./draw.js";
import { ask, Refused } from "./live.js";

const dialog = () => document.getElementById("form");

/**
 * Open the dialog. A field has a `name` and a `label`, and optionally `value`, `type`, `hint`, `options`
 * ([value, text]) and `required`. `submit` gets the values, without empty ones. An error that it throws is shown.
 */
export function askFor({ title, text, fields = [], label, submit }) {
  const form = dialog();
  const show = (error, busy) =>
    draw(
      form,
      h(
        "form",
        { key: title, method: "dialog", onsubmit: (event) => (event.preventDefault(), send(event.currentTarget)) },
        h("h2", { id: "form-title" }, title),
        text && h("p", { class: "quiet" }, text),
        fields.map(field),
        h("p", { class: "error", role: "alert" }, error ?? ""),
        h(
          "div",
          { class: "buttons end" },
          h("button", { type: "button", onclick: () => form.close() }, "Cancel"),
          h("button", { class: "main", disabled: busy }, label),
        ),
      ),
    );
  const send = async (sent) => {
    const given = Object.fromEntries([...new FormData(sent)].filter(([, value]) => value !== ""));
    show(null, true);
    try {
      await submit(given);
      form.close();
    } catch (refused) {
      if (!(refused instanceof Refused)) throw refused;
      show(refused.message, false);
    }
  };
  draw(form); // remove the previous form
  show(null, false);
  form.setAttribute("aria-labelledby", "form-title");
  form.showModal();
  form.querySelector("input, select, textarea, button.main")?.focus();
}

/** Open the dialog for a single request. */
export function askAndDo(action, details, settings) {
  askFor({ ...settings, submit: (given) => ask(action, { ...details, ...given }) });
}

function field({ name, label, value, type = "text", options, required, hint }) {
  const settings = {
    id: `field-${name}`,
    name,
    required,
    "aria-describedby": hint ? `hint-${name}` : null,
    autocomplete: "off",
  };
  const input = options
    ? h(
        "select",
        settings,
        options.map(([each, text]) => h("option", { value: each, selected: each === value }, text)),
      )
    : type === "textarea"
      ? h("textarea", { ...settings, rows: 4, spellcheck: "false", value: value ?? "" })
      : h("input", { ...settings, type, value: value ?? "" });
  return h(
    "div",
    { class: "field", key: name },
    h("label", { for: settings.id }, label),
    input,
    hint && h("p", { class: "hint", id: `hint-${name}` }, hint),
  );
}
