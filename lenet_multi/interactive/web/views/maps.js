/** A map or a vector as a picture whose numbers can be pointed at, with outlines over some of them. */

import { drawMap } from "../drawing.js";
import { element } from "../dom.js";

/**
 * @typedef {object} Grid how numbers are laid out in rows
 * @property {number} height
 * @property {number} width
 * @property {number} count of the numbers; less than height * width if they do not fill the last row
 *
 * @typedef {object} Outline in cells of the grid
 * @property {number} top
 * @property {number} left
 * @property {number} height
 * @property {number} width
 * @property {"cell" | "window" | "part"} kind the number pointed at, or what it was computed from: all or most of it
 */

const DENSE = 128; // numbers of a vector up to which they are large enough for a finger on a phone
const [ROW, PHONE_ROW] = [32, 16];

export const phone = matchMedia("(max-width: 44rem)");

/**
 * @param {number[]} shape of a layer's output
 * @returns {Grid}
 */
export function gridOf(shape) {
  if (shape.length === 3) return { height: shape[1], width: shape[2], count: shape[1] * shape[2] };
  const [count] = shape;
  const width = Math.min(count, phone.matches && count <= DENSE ? PHONE_ROW : ROW);
  return { height: Math.ceil(count / width), width, count };
}

/**
 * @param {Grid} grid
 * @param {number} index
 * @param {Outline["kind"]} kind
 * @returns {Outline}
 */
export function cellOutline({ width }, index, kind) {
  return { top: Math.floor(index / width), left: index % width, height: 1, width: 1, kind };
}

export class NumberMap {
  /**
   * @param {Grid} grid
   * @param {string} label for screen readers
   * @param {string} description of the keys, for screen readers
   * @param {(index: number) => void} point called with the index of a number in the grid
   */
  constructor(grid, label, description, point) {
    this.grid = grid;
    this.point = point;
    /** @type {number | null} the index that is pointed at */
    this.at = null;
    this.canvas = element("canvas", {
      tabIndex: -1,
      role: "application",
      "aria-label": label,
      "aria-roledescription": description,
    });
    this.element = element("div", { className: "map" }, this.canvas);
    this.element.style.aspectRatio = `${grid.width} / ${grid.height}`;
    if (grid.width === grid.count) this.element.style.maxWidth = `min(32rem, ${2.5 * grid.count}rem)`;
    this.canvas.addEventListener("click", (event) => this.#pointAt(event));
    this.canvas.addEventListener("pointermove", (event) => {
      if (event.pointerType === "mouse" && event.buttons === 1) this.#pointAt(event);
    });
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  /** @param {MouseEvent} event */
  #pointAt(event) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    const at = (/** @type {number} */ offset, /** @type {number} */ length, /** @type {number} */ count) =>
      Math.max(0, Math.min(count - 1, Math.floor((offset / length) * count)));
    const y = at(event.clientY - top, height, this.grid.height);
    const index = y * this.grid.width + at(event.clientX - left, width, this.grid.width);
    this.go(Math.min(index, this.grid.count - 1));
  }

  /**
   * Point at a number, and let the next key start from there, even before the next frame.
   *
   * @param {number} index
   */
  go(index) {
    this.at = index;
    this.point(index);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.shiftKey || event.ctrlKey || event.altKey || event.metaKey) return;
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const isStart = event.key === "Enter" || event.key === " ";
    if (!step && !isStart) return;
    event.preventDefault();
    if (this.at === null) return this.go(0);
    const next = step && steppedIndex(this.grid, this.at, step);
    if (next !== undefined) this.go(next);
  }

  /**
   * @param {ArrayLike<number>} values
   * @param {number} start index of the first
   * @param {import("../drawing.js").Range} range
   */
  draw(values, start, range) {
    const { height, width, count } = this.grid;
    if (count === height * width) return drawMap(this.canvas, values, start, height, width, range);
    const padded = new Float64Array(height * width).fill(NaN);
    for (let i = 0; i < count; i++) padded[i] = values[start + i];
    drawMap(this.canvas, padded, 0, height, width, range);
  }

  /**
   * @param {number | null} at the index that is pointed at
   * @param {Outline[]} outlines
   */
  mark(at, outlines) {
    this.at = at;
    drawOutlines(this.element, this.grid, outlines);
  }
}

/**
 * The index one step further, if there is one.
 *
 * @param {Grid} grid
 * @param {number} at
 * @param {number[]} step down and right
 */
export function steppedIndex({ height, width, count }, at, [down, right]) {
  const [y, x] = [Math.floor(at / width) + down, (at % width) + right];
  const isInside = y >= 0 && x >= 0 && y < height && x < width && y * width + x < count;
  return isInside ? y * width + x : undefined;
}

/**
 * Outlines over a picture, cut off at its edges.
 *
 * @param {HTMLElement} box that holds the picture; its position is relative
 * @param {{height: number, width: number}} grid
 * @param {Outline[]} outlines
 */
export function drawOutlines(box, grid, outlines) {
  const shown = /** @type {HTMLElement[]} */ ([...box.querySelectorAll(":scope > .outline")]);
  while (shown.length > outlines.length) shown.pop()?.remove();
  outlines.forEach(({ top, left, height, width, kind }, n) => {
    if (!shown[n]) box.append(shown[n] = element("span"));
    const [first, last] = [Math.max(0, top), Math.min(grid.height, top + height)];
    const [start, end] = [Math.max(0, left), Math.min(grid.width, left + width)];
    shown[n].className = `outline ${kind}`;
    shown[n].hidden = last <= first || end <= start;
    shown[n].style.top = `${(100 * first) / grid.height}%`;
    shown[n].style.left = `${(100 * start) / grid.width}%`;
    shown[n].style.height = `${(100 * (last - first)) / grid.height}%`;
    shown[n].style.width = `${(100 * (end - start)) / grid.width}%`;
  });
}
