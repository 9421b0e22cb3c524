/**
 * The tools in tabs: in a column of their own, or where the window is too narrow for it in a sheet at the bottom.
 *
 * A tool's element receives the event `shown` (a CustomEvent that does not bubble) whenever it becomes visible: when its
 * tab is chosen, and when the sheet is unfolded. A view redraws on this event, and does nothing while
 * `isShown(element)` (tool_parts.js) is false. A tool that wants its tab to be chosen dispatches `wanted` on its element.
 */

import { element, newId, text } from "../dom.js";
import { enterAt, roveFocus } from "./roving.js";

const inSheet = matchMedia("(max-width: 70rem)"); // as in tools.css

/**
 * @typedef {object} Tool
 * @property {string} key the text `tools.<key>` is the title of its tab
 * @property {HTMLElement} content
 */

/**
 * @param {Tool[]} tools in the order of the tabs
 * @param {HTMLElement} line what is always visible, above the tabs
 */
export function toolsView(tools, line) {
  const list = element("div", { className: "tabs", role: "tablist", "aria-label": text("tools.title") });
  const panels = element("div", { className: "panels", id: newId() });
  const items = tools.map(({ key, content }) => toolTab(key, content));
  let chosen = items[0];
  let isFoldedByHand = false;

  /** @param {ReturnType<typeof toolTab>} item */
  function choose(item) {
    if (item === chosen) return;
    chosen = item;
    mark();
    item.content.dispatchEvent(new CustomEvent("shown"));
  }

  function mark() {
    for (const { tab, panel } of items) {
      tab.setAttribute("aria-selected", String(tab === chosen.tab));
      panel.hidden = tab !== chosen.tab;
    }
    enterAt(items.map(({ tab }) => tab), chosen.tab);
  }

  for (const item of items) {
    item.tab.addEventListener("click", () => choose(item));
    item.tab.addEventListener("focus", () => choose(item));
    item.content.addEventListener("wanted", () => {
      choose(item);
      if (panels.hidden && !isFoldedByHand) open(true);
    });
  }
  list.append(...items.map(({ tab }) => tab));
  panels.append(...items.map(({ panel }) => panel));
  roveFocus(list, "[role=tab]", () => 0);
  mark();

  const fold = element("button", { type: "button", className: "fold", "aria-controls": panels.id });
  /** @param {boolean} isOpen */
  function open(isOpen) {
    panels.hidden = !isOpen;
    fold.setAttribute("aria-expanded", String(isOpen));
    fold.textContent = text(isOpen ? "tools.fold" : "tools.unfold");
    if (isOpen) chosen.content.dispatchEvent(new CustomEvent("shown"));
  }
  fold.addEventListener("click", () => {
    isFoldedByHand = !panels.hidden;
    open(!isFoldedByHand);
  });
  // A tab that is chosen in the folded sheet unfolds it.
  list.addEventListener("click", () => panels.hidden && open(true));
  open(!inSheet.matches); // where there is little room, the network comes first
  // Only the sheet has the button: whoever widens the window gets the tools back.
  inSheet.addEventListener("change", () => open(true));

  const title = element("h2", { className: "unseen" }, text("tools.title"));
  const head = element("div", { className: "tools-head" }, element("div", { className: "line" }, line, fold), list);
  return element("section", { className: "tool-tabs", "aria-label": text("tools.title") }, title, head, panels);
}

/**
 * @param {string} key
 * @param {HTMLElement} content
 */
function toolTab(key, content) {
  const [id, panelId] = [newId(), newId()];
  const tab = element("button", { type: "button", role: "tab", id, "aria-controls": panelId }, text(`tools.${key}`));
  const panel = element("div", { role: "tabpanel", id: panelId, "aria-labelledby": id, tabIndex: 0 }, content);
  return { content, tab, panel };
}
