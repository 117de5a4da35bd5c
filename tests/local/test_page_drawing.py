"""How the page is drawn, in a real browser: whatever came before, what is described is there, and the rest is kept."""

from browser import Browser
from local_page import browser as browser
from local_page import shown
from local_process import Local
from local_process import local as local
from local_process import process as process

# Lists in random order, one after the other, some with keys and some without.
LISTS = """(async () => {
  const { draw, h } = await import("/page/draw.js");
  const place = document.body.appendChild(document.createElement("div"));
  let seed = 7;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  const known = new Map();
  for (let round = 0; round < 300; round++) {
    const keys = [...new Set(Array.from({ length: random(8) }, () => random(12)))];
    const lone = random(3) === 0 && h("p", {}, `alone ${round}`);
    const title = (key) => (key % 2 ? `odd ${round}` : "");
    draw(place, keys.map((key) => h("p", { key, title: title(key) || null }, `${key} in ${round}`)), lone, "end");
    const wanted = keys.map((key) => `${key} in ${round}`).concat(lone ? [`alone ${round}`] : [], ["end"]);
    const found = [...place.childNodes].map((node) => node.textContent);
    if (found.join() !== wanted.join()) return `round ${round}: ${found} instead of ${wanted}`;
    for (const node of place.children) {
      const key = node.dataset.key;
      if (key === undefined) continue;
      if (node.title !== title(key)) return `round ${round}: title ${node.title} of ${key}`;
      const last = known.get(key);
      if (last?.round === round - 1 && last.node !== node) return `round ${round}: ${key} made anew`;
      known.set(key, { node, round });
    }
  }
  return "as described";
})()"""

# A button that moves, one that goes away, one that cannot be pressed any more: the focus stays near.
FOCUS = """(async () => {
  const { draw, h } = await import("/page/draw.js");
  const place = document.body.appendChild(document.createElement("div"));
  const item = (key, ...buttons) => h("div", { key }, buttons.map(([name, disabled]) =>
    h("button", { key: name, "data-does": name, disabled }, name)));
  const focused = () => {
    const active = document.activeElement;
    return `${active.closest("div[data-key]")?.dataset.key} ${active.textContent}`;
  };
  const seen = [];
  draw(place, item("a", ["up"], ["drop"]), item("b", ["up"], ["drop"]));
  place.querySelectorAll("button")[2].focus();
  seen.push(focused());
  draw(place, item("b", ["up"], ["drop"]), item("a", ["up"], ["drop"]));
  seen.push(focused());
  draw(place, item("b", ["up", true], ["drop"]), item("a", ["up"], ["drop"]));
  seen.push(focused());
  draw(place, item("b", ["again"]), item("a", ["up"], ["drop"]));
  seen.push(focused());
  return seen.join();
})()"""

SHARED = """(async () => {
  const { shared } = await import("/page/draw.js");
  const before = { list: [{ id: "a", deep: [1, { x: 1 }] }, { id: "b", deep: [2] }], gone: 1 };
  const after = shared(before, { list: [{ id: "c" }, { id: "a", deep: [1, { x: 1 }] }, { id: "b", deep: [3] }] });
  const again = shared(after, JSON.parse(JSON.stringify(after)));
  const kept = [after.list[1] === before.list[0], again === after];
  const changed = [after !== before, after.list[2] !== before.list[1], !("gone" in after)];
  return [...kept, ...changed, shared([1], [1, 2]).length === 2, shared({ a: null }, { a: {} }).a !== null].join();
})()"""


def test_what_is_described_is_there(browser: Browser, local: Local) -> None:
    """Three hundred lists in a row end up as described, and what has a key stays the same element."""
    with shown(browser, local) as page:
        assert page.evaluate(LISTS) == "as described"


def test_the_focus_stays_near(browser: Browser, local: Local) -> None:
    """It goes along with what moves, and from what cannot be pressed any more to what belongs to the same thing."""
    with shown(browser, local) as page:
        assert page.evaluate(FOCUS) == "b up,b up,b drop,b again"


def test_what_has_not_changed_is_the_very_same(browser: Browser, local: Local) -> None:
    """Equal parts of two states are one object, found by their ids, so that they need not be drawn again."""
    with shown(browser, local) as page:
        assert page.evaluate(SHARED) == ",".join(["true"] * 7)
