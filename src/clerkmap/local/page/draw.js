// Draws the page from descriptions. A new description changes only the elements that differ, so focus, scrolling,
// typed text and open details stay. Text is inserted as text, never as HTML.

/** Describe an element: its tag, its settings (attributes, `on…` handlers, `key`) and its children. */
export function h(tag, settings, ...inside) {
  return { tag, settings: settings ?? {}, inside: present(inside) };
}

/** Flatten descriptions, and leave out the results of conditions that are false. */
function present(inside) {
  return inside.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false);
}

const remembered = new WeakMap();

/** Return the previous description of this object, unless its dependency has changed. */
export function once(object, depends, make) {
  const before = remembered.get(object);
  if (before && before.depends === depends) return before.description;
  const description = make();
  remembered.set(object, { depends, description });
  return description;
}

/** Return the newer of two values. Each part that equals the older one is the older object itself. */
export function shared(before, after) {
  if (before === after || typeof before !== "object" || typeof after !== "object" || !before || !after) return after;
  if (Array.isArray(before) !== Array.isArray(after)) return after;
  const byId =
    Array.isArray(before) && before.length && before[0]?.id ? new Map(before.map((each) => [each.id, each])) : null;
  let same = Object.keys(before).length === Object.keys(after).length;
  for (const name of Object.keys(after)) {
    after[name] = shared(byId ? byId.get(after[name]?.id) : before[name], after[name]);
    same &&= after[name] === before[name] && name in before;
  }
  return same ? before : after;
}

const drawn = new WeakMap(); // the last description of each element

/** Make an element match its description, and keep the focus in place or nearby. */
export function draw(parent, ...inside) {
  const focused = document.activeElement;
  const place = parent.contains(focused) ? placeOf(focused) : null;
  fill(parent, present(inside));
  // A browser may move the focus from a disabled button only at the next paint.
  if (place && (document.activeElement !== focused || focused.disabled)) refocus(parent, focused, place);
}

function fill(parent, inside) {
  const old = new Map();
  const counts = new Map();
  for (const node of parent.childNodes) old.set(nameOf(drawn.get(node) ?? node.data, counts), node);
  counts.clear();
  const wanted = inside.map((each) => [each, old.get(nameOf(each, counts))]);
  const kept = new Set(wanted.map(([, node]) => node));
  for (const node of old.values()) if (!kept.has(node)) node.remove();
  let next = parent.firstChild;
  for (const [each, found] of wanted) {
    const node = found ?? make(each);
    if (node === next) next = next.nextSibling;
    else parent.insertBefore(node, next);
    update(node, each);
  }
}

/** The name of a child among its siblings: its key, or its tag and a number. */
function nameOf(each, counts) {
  const tag = typeof each === "object" ? each.tag : "#text";
  const key = each.settings?.key;
  if (key !== undefined) return `${tag} ${key}`;
  counts.set(tag, (counts.get(tag) ?? 0) + 1);
  return `${tag} #${counts.get(tag)}`;
}

const SVG = new Set(["svg", "path", "circle"]);

function make(each) {
  if (typeof each !== "object") return document.createTextNode(String(each));
  return SVG.has(each.tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", each.tag)
    : document.createElement(each.tag);
}

function update(node, each) {
  if (typeof each !== "object") {
    if (node.data !== String(each)) node.data = String(each);
    return;
  }
  const before = drawn.get(node);
  if (before === each) return;
  drawn.set(node, each);
  for (const name of Object.keys(before?.settings ?? {})) if (!(name in each.settings)) set(node, name, null);
  for (const [name, value] of Object.entries(each.settings)) {
    if (name !== "key" && (value !== before?.settings[name] || name === "checked")) set(node, name, value);
  }
  if (each.settings.key !== undefined) node.dataset.key = each.settings.key;
  fill(node, each.inside);
}

function set(node, name, value) {
  if (name.startsWith("on")) node[name] = value;
  else if (name === "value" || name === "checked") {
    if (node[name] !== value) node[name] = value; // even the same value would move the cursor
  } else if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : value);
}

function placeOf(node) {
  return { label: node.dataset.does, keys: ancestors(node).map((each) => each.dataset.key) };
}

function ancestors(node) {
  const found = [];
  for (let each = node; each; each = each.parentElement) if (each.dataset.key) found.push(each);
  return found;
}

/** Focus a button that was moved or removed: the button in its new place, or else an element near it. */
function refocus(parent, focused, place) {
  if (focused.isConnected && !focused.disabled) return focused.focus();
  for (const key of place.keys) {
    const near = parent.querySelector(`[data-key="${CSS.escape(key)}"]`);
    if (!near) continue;
    const again = place.label && near.querySelector(`[data-does="${CSS.escape(place.label)}"]:not(:disabled)`);
    const target = again || near.querySelector("summary, button:not(:disabled), input, a[href]");
    if (target) return target.focus();
  }
  parent.focus();
}
