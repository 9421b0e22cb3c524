/** A table of numbers on the colors of a map. */

import { colorsOf } from "../drawing.js";
import { element, number } from "../dom.js";
import { enterAt, roveFocus } from "./roving.js";

const TOLD_DIGITS = 6;

/** @typedef {"" | "outside" | "largest"} Mark of a cell: a zero of the padding, the largest of a window */

export class HeatTable {
  /**
   * @param {string} caption
   * @param {number} height
   * @param {number} width
   * @param {((index: number) => void) | null} choose called with the index of a chosen number; null for a table to read
   */
  constructor(caption, height, width, choose = null) {
    this.caption = element("caption", {}, caption);
    this.cells = Array.from({ length: height * width }, (_, index) => {
      if (!choose) return element("td");
      return element("button", { type: "button", className: "cell", onclick: () => choose(index) });
    });
    const inRow = (/** @type {number} */ y) => this.cells.slice(y * width, (y + 1) * width);
    const rows = Array.from(
      { length: height },
      (_, y) => element("tr", {}, ...inRow(y).map((cell) => (choose ? element("td", {}, cell) : cell))),
    );
    this.element = element("table", { className: "heat" }, this.caption, element("tbody", {}, ...rows));
    if (!choose) return;
    roveFocus(this.element, "button", () => width);
    enterAt(this.cells, this.cells[0]);
  }

  /**
   * @param {ArrayLike<number>} values
   * @param {import("../drawing.js").Range} range
   * @param {(index: number) => Mark} markOf
   * @param {(index: number) => string} nameOf what a screen reader and a tooltip say of a number
   */
  fill(values, range, markOf = () => "", nameOf = (index) => number(values[index], TOLD_DIGITS)) {
    this.cells.forEach((cell, index) => {
      const mark = markOf(index);
      const { ground, text } = colorsOf(values[index], range);
      cell.textContent = number(values[index]);
      cell.title = nameOf(index);
      cell.dataset.mark = mark;
      if (cell instanceof HTMLButtonElement) cell.setAttribute("aria-disabled", String(mark === "outside"));
      cell.style.backgroundColor = mark === "outside" ? "" : ground;
      cell.style.color = mark === "outside" ? "" : text;
    });
  }
}
