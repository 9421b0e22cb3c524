/** What the tools share: they work only while they are visible, and for one of two networks. */

import { element, newId, text } from "../dom.js";

/**
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../store.js").State} State
 * @typedef {import("../store.js").SideName} SideName
 *
 * @typedef {object} SideChoice
 * @property {HTMLElement} box
 * @property {() => SideName} current
 * @property {(name: SideName) => void} choose
 */

/**
 * Whether a tool is in the page, and not hidden by its tab.
 *
 * @param {HTMLElement} tool
 */
export function isShown(tool) {
  return tool.isConnected && !tool.closest("[hidden]");
}

/**
 * Draw a tool once it is in the page, when its tab is chosen, and when what it shows changes while it is visible.
 *
 * @param {Store} store
 * @param {HTMLElement} tool
 * @param {(keyof State)[]} keys what it shows
 * @param {() => void} draw
 */
export function drawWhileVisible(store, tool, keys, draw) {
  const drawIfVisible = () => {
    if (isShown(tool)) draw();
  };
  store.views.push((changed) => {
    if (keys.some((key) => changed.has(key))) drawIfVisible();
  });
  tool.addEventListener("shown", drawIfVisible);
  requestAnimationFrame(drawIfVisible);
}

/**
 * A label and what it names. A label around a select would take its options into the name.
 *
 * @param {string} name
 * @param {HTMLElement} input
 * @returns {(Node | string)[]}
 */
export function labelled(name, input) {
  input.id = newId();
  return [element("label", { for: input.id }, name), " ", input];
}

/**
 * @param {string} key of its name
 * @param {HTMLSelectElement} select
 */
export function labelledSelect(key, select) {
  return element("div", { className: "labelled" }, ...labelled(text(key), select));
}

/**
 * @param {HTMLSelectElement} select keeps its choice if it is offered again
 * @param {string[][]} options value and text of each
 */
export function fillSelect(select, options) {
  const before = select.value;
  select.replaceChildren(...options.map(([value, shown]) => element("option", { value }, shown)));
  if (options.some(([value]) => value === before)) select.value = before;
}

/**
 * A box for wide tables: while it scrolls, the Tab key reaches it, so that the arrow keys can scroll it.
 *
 * @param {string} name
 * @param {...HTMLElement} children
 */
export function scrollBox(name, ...children) {
  const box = element("div", { className: "scroll", role: "group", "aria-label": name }, ...children);
  const observer = new ResizeObserver(() => {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  });
  for (const each of [box, ...children]) observer.observe(each);
  return box;
}

/**
 * A choice between the two networks, while there are two.
 *
 * @param {Store} store
 * @param {() => void} onChoice
 * @returns {SideChoice}
 */
export function sideChoice(store, onChoice) {
  const names = /** @type {SideName[]} */ (["a", "b"]);
  const options = names.map((name) => element("option", { value: name }, text(`side.${name}`)));
  const select = element("select", { onchange: onChoice }, ...options);
  const box = element("p", { hidden: !store.state.b }, ...labelled(text("tool.side"), select));
  store.views.push((changed) => {
    if (!changed.has("b")) return;
    box.hidden = !store.state.b;
    if (!store.state.b) select.value = "a";
  });
  return {
    box,
    current: () => (store.state.b && select.value === "b" ? "b" : "a"),
    choose: (name) => (select.value = name),
  };
}
