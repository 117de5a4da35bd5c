// The third pane: the current rows, their latest changes, and the effect of each event.

import { h, once } from "./draw.js";
import { badge, broken, shown, time } from "./parts.js";

// Internal columns, shown only by "Every column, as stored".
const INNER = new Set(["instance", "key", "rank", "role_rank", "image_url"]);
// Columns that are mostly empty: shown if a row has a value.
const RARE = new Set(["username", "external_id", "public_metadata", "updated_at"]);
const KINDS = {
  applied: ["applied", "good"],
  nothing_new: ["nothing new", ""],
  ignored: ["ignored", ""],
  refused: ["refused", "bad"],
};
const LOG = 30;

/** The cells that differ between two snapshots, as "table/row/column". All cells of a new row differ. */
export function freshCells(before, after) {
  const fresh = new Set();
  for (const table of after.tables) {
    const old = before.tables.find((each) => each.name === table.name);
    const rows = new Map((old?.rows ?? []).map((row, place) => [rowKey(table, row, place), row]));
    table.rows.forEach((row, place) => {
      const key = rowKey(table, row, place);
      const known = rows.get(key);
      if (known === row) return;
      table.columns.forEach((column, number) => {
        if (!known || known[number] !== row[number]) fresh.add(`${table.name}/${key}/${column}`);
      });
    });
  }
  return fresh;
}

function rowKey(table, row, place) {
  const column = ["id", "key"].map((name) => table.columns.indexOf(name)).find((found) => found >= 0);
  return column === undefined ? String(place) : String(row[column]);
}

/** The whole pane. `view.stored`: show all columns, as stored. `view.fresh`: the cells of the latest change. */
export function databasePane({ path, tables }, messages, view) {
  const filled = tables.filter((table) => table.count > 0);
  const empty = tables.filter((table) => table.count === 0);
  return [
    h(
      "div",
      { class: "row", key: "tools" },
      h(
        "label",
        { class: "switch grow" },
        h("input", {
          type: "checkbox",
          role: "switch",
          checked: view.stored,
          onchange: (event) => view.store(event.currentTarget.checked),
        }),
        h("span", {}, "Every column, as stored"),
      ),
    ),
    filled.map((table) => once(table, view, () => section(table, view))),
    !filled.length &&
      h(
        "p",
        { class: "quiet empty", key: "empty" },
        "Every table is empty. The first webhook or token of a user creates its row.",
      ),
    filled.length > 0 &&
      empty.length > 0 &&
      h(
        "p",
        { class: "quiet", key: "none" },
        "Empty: ",
        empty.map((table, place) => [place > 0 && ", ", h("code", {}, table.name)]),
      ),
    log(messages),
    h("p", { class: "id", key: "path" }, path),
  ];
}

function section(table, view) {
  const columns = table.columns.filter((column, number) => view.stored || isShown(table, column, number));
  const fresh = (key, column) => view.fresh.has(`${table.name}/${key}/${column}`);
  return h(
    "section",
    { class: "table", key: table.name },
    h("h3", {}, h("code", {}, table.name), " ", h("span", { class: "count" }, table.count)),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": table.name },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            columns.map((column) => h("th", { scope: "col", key: column }, broken(column))),
          ),
        ),
        h(
          "tbody",
          {},
          table.rows.map((row, place) => {
            const key = rowKey(table, row, place);
            const gone = isGone(table, row);
            const changed = columns.some((column) => fresh(key, column));
            return h(
              "tr",
              { key, class: `${gone ? "gone" : ""} ${changed ? "changed" : ""}` },
              columns.map((column, number) => {
                const value = row[table.columns.indexOf(column)];
                return h(
                  "td",
                  {
                    key: column,
                    class: fresh(key, column) ? "fresh" : null,
                    title: typeof value === "string" ? value : null,
                    "data-column": column,
                  },
                  number === 0 && gone && badge("deleted", "bad"),
                  !(gone && number === 0 && value === null) && cell(column, value, view.stored),
                );
              }),
            );
          }),
        ),
      ),
    ),
    table.count > table.rows.length && h("p", { class: "quiet" }, `The first ${table.rows.length} of ${table.count}.`),
  );
}

function isShown(table, column, number) {
  if (INNER.has(column)) return false;
  return (
    !RARE.has(column) ||
    (column !== "updated_at" && table.rows.some((row) => row[number] !== null && row[number] !== "{}"))
  );
}

function isGone(table, row) {
  const deleted = table.columns.indexOf("deleted_at");
  if (deleted >= 0) return row[deleted] !== null;
  const clerk = table.columns.indexOf("clerk_id");
  return clerk >= 0 && row[clerk] === null;
}

function cell(column, value, stored) {
  if (value === null || value === undefined || stored)
    return h("span", { class: value === null ? "none" : "value" }, shown(value));
  if (column.endsWith("_at") && typeof value === "number") return time(value);
  if (column === "banned" || column.endsWith("_verified")) return value ? "yes" : "no";
  return h("span", { class: "value" }, shown(value));
}

function log(messages) {
  const arrived = messages
    .flatMap((message) =>
      message.outcomes.map((outcome, number) => ({
        message,
        outcome,
        number,
        at: message.attempts.at(-1)?.at ?? message.at,
      })),
    )
    .sort((one, other) => other.at - one.at || other.number - one.number)
    .slice(0, LOG);
  if (!arrived.length) return null;
  return [
    h("h3", { key: "log-title" }, "The outcome of each event"),
    h(
      "ol",
      { class: "log", key: "log" },
      arrived.map((each) => once(each.outcome, each.message, () => entry(each))),
    ),
  ];
}

function entry({ message, outcome, number, at }) {
  const [word, look] = KINDS[outcome.kind];
  return h(
    "li",
    { key: `${message.id}/${number}` },
    h(
      "p",
      { class: "row" },
      h("span", { class: "grow" }, h("b", { class: "type" }, broken(message.type)), " ", message.about),
      badge(word, look),
      time(at),
    ),
    outcome.to !== "demo" && h("p", { class: "quiet" }, `at ${outcome.to}`),
    outcome.reason && h("p", { class: "quiet" }, outcome.reason),
    outcome.changes.map((change, place) =>
      h(
        "div",
        { key: `${change.what}/${change.id}/${place}`, class: "change" },
        h("p", {}, `${change.what} ${change.how} `, h("code", { title: change.id }, change.id)),
        change.fields.length > 0 &&
          h(
            "dl",
            {},
            change.fields.map((field) => [
              h("dt", { key: `name ${field.name}` }, field.name),
              h(
                "dd",
                { key: `value ${field.name}` },
                change.how !== "made" && [h("del", {}, shown(field.before)), " → "],
                h("ins", {}, shown(field.after)),
              ),
            ]),
          ),
      ),
    ),
  );
}
