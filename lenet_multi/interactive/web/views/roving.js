/** Arrow keys within a group of elements of which only one is in the order of the Tab key. */

/**
 * Let arrow keys, Home and End move the focus within a group.
 *
 * @param {HTMLElement} group
 * @param {string} selector of its elements, in their order
 * @param {() => number} columns elements in one row; 0 if all arrows move by one element, around the ends
 */
export function roveFocus(group, selector, columns) {
  group.addEventListener("keydown", (event) => {
    const items = /** @type {HTMLElement[]} */ ([...group.querySelectorAll(selector)]);
    const at = items.indexOf(/** @type {HTMLElement} */ (event.target));
    if (at < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    const next = items[placeAfter(event.key, at, items.length, columns())];
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
  group.addEventListener("focusin", (event) => {
    const items = /** @type {HTMLElement[]} */ ([...group.querySelectorAll(selector)]);
    const entry = items.find((item) => item === event.target);
    if (entry) enterAt(items, entry);
  });
}

/**
 * How many columns a grid has at its present width.
 *
 * @param {HTMLElement} grid
 */
export function columnsOf(grid) {
  return getComputedStyle(grid).gridTemplateColumns.split(" ").length;
}

/**
 * The element that the Tab key reaches.
 *
 * @param {HTMLElement[]} items
 * @param {HTMLElement} entry
 */
export function enterAt(items, entry) {
  for (const item of items) item.tabIndex = item === entry ? 0 : -1;
}

/**
 * @param {string} key
 * @param {number} at
 * @param {number} count
 * @param {number} columns
 */
function placeAfter(key, at, count, columns) {
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -(columns || 1), ArrowDown: columns || 1 }[key];
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  if (step === undefined) return -1;
  return columns ? at + step : (at + step + count) % count;
}
