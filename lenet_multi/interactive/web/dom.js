/** Elements, made of text only: nothing that a file says can become markup. */

/** @type {Record<string, string>} */
let texts = {};

/** @param {Record<string, string>} given all texts of the page, by name */
export function setTexts(given) {
  texts = given;
}

/**
 * A text of the page, with values in place of `{name}`.
 *
 * @param {string} key
 * @param {Record<string, string | number>} values
 */
export function text(key, values = {}) {
  const found = texts[key];
  if (found === undefined) throw new Error(`there is no text ${key}`);
  return found.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/**
 * An element with properties, attributes (names with a hyphen, and `role`), listeners (functions named `onclick`) and
 * children.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} settings
 * @param {...(Node | string | null)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, settings = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(settings)) {
    if (name.includes("-") || name === "role" || name === "for") made.setAttribute(name, value);
    else Object.assign(made, { [name]: value });
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/**
 * An element of a drawing.
 *
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number>} attributes
 * @param {...(Node | string)} children
 * @returns {SVGElementTagNameMap[Tag]}
 */
export function svgElement(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/**
 * A number as the page shows it.
 *
 * @param {number} value
 * @param {number} digits
 */
export function number(value, digits = 3) {
  if (value === 0) return "0";
  const magnitude = Math.abs(value);
  const shown = magnitude >= 1e5 || magnitude < 10 ** -digits / 2 ? value.toExponential(1) : value.toFixed(digits);
  return shown.replaceAll("-", "−");
}

/** @param {number} fraction */
export function percent(fraction) {
  return `${(100 * fraction).toFixed(1)}%`;
}

let numbered = 0;

/** An id that no other element has. */
export function newId() {
  numbered += 1;
  return `e${numbered}`;
}
