/** Drawing with the keyboard: arrow keys move a cursor, space draws a dot, shift and arrow keys draw a line. */

import { text } from "../dom.js";

/** @type {Record<string, [number, number]>} */
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/**
 * @param {HTMLElement} board
 * @param {HTMLElement} cursor
 * @param {HTMLElement} spoken says where the cursor is
 * @param {import("../sketch.js").Sketch} sketch
 * @param {[number, number]} size height and width
 * @param {() => import("../brush.js").Brush} brush
 */
export function listenToKeys(board, cursor, spoken, sketch, [height, width], brush) {
  let [row, column] = [Math.floor(height / 2), Math.floor(width / 2)];
  const point = () => ({ x: column + 0.5, y: row + 0.5 });
  let isLine = false;

  /** @param {string} key of a text */
  function show(key) {
    cursor.hidden = false;
    cursor.style.top = `${(100 * row) / height}%`;
    cursor.style.left = `${(100 * column) / width}%`;
    cursor.style.height = `${100 / height}%`;
    cursor.style.width = `${100 / width}%`;
    spoken.textContent = text(key, { row: row + 1, column: column + 1 });
  }

  function endLine() {
    if (isLine) sketch.end();
    isLine = false;
  }

  board.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = STEPS[event.key];
    if (step) {
      if (event.shiftKey && !isLine) sketch.begin(brush(), point());
      isLine = event.shiftKey;
      row = Math.max(0, Math.min(height - 1, row + step[0]));
      column = Math.max(0, Math.min(width - 1, column + step[1]));
      if (isLine) sketch.extend([{ brush: brush(), at: point() }]);
      show(isLine ? "pad.line" : "pad.at");
    } else if (event.key === " " || event.key === "Enter") {
      endLine();
      sketch.begin(brush(), point());
      sketch.end();
      show("pad.dot");
    } else {
      return;
    }
    event.preventDefault();
  });
  board.addEventListener("keyup", (event) => {
    if (event.key === "Shift") endLine();
  });
  board.addEventListener("blur", () => {
    endLine();
    cursor.hidden = true;
  });
  board.addEventListener("pointerdown", () => (cursor.hidden = true));
}
