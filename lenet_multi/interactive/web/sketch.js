/** The drawing of a user: strokes on the image of the store, and their undoing. */

import { drawLine } from "./brush.js";
import { emptyImage } from "./store.js";

/**
 * @typedef {import("./store.js").Store} Store
 * @typedef {import("./brush.js").Brush} Brush
 * @typedef {{x: number, y: number}} PixelPoint
 * @typedef {Pick<import("./store.js").State, "image" | "label">} Shown
 */

const MOST_UNDONE = 50;

export class Sketch {
  /** @param {Store} store */
  constructor(store) {
    this.store = store;
    /** @type {Shown[]} the images before each stroke, and before each image that came from elsewhere */
    this.past = [];
    /** @type {Shown} */
    this.shown = { image: store.state.image, label: store.state.label };
    /** @type {{before: Float64Array, covered: Float64Array, last: PixelPoint} | null} */
    this.stroke = null;
    this.follow();
  }

  /** Take over an image that came from elsewhere, so that it can be undone as well. */
  follow() {
    const { image, label } = this.store.state;
    if (image !== this.shown.image) {
      this.#remember();
      this.stroke = null;
    }
    this.shown = { image, label };
  }

  #remember() {
    this.past.push(this.shown);
    if (this.past.length > MOST_UNDONE) this.past.shift();
  }

  /** @param {Shown} shown */
  #show(shown) {
    this.shown = shown;
    this.store.update({ ...shown });
  }

  /**
   * Start a stroke.
   *
   * @param {Brush} brush
   * @param {PixelPoint} at
   */
  begin(brush, at) {
    this.follow();
    this.#remember();
    const { image } = this.shown;
    this.stroke = { before: image, covered: new Float64Array(image.length), last: at };
    this.extend([{ brush, at }]);
  }

  /**
   * Continue the stroke, if there is one, through some points.
   *
   * @param {{brush: Brush, at: PixelPoint}[]} points
   */
  extend(points) {
    if (this.store.state.image !== this.shown.image) this.follow(); // and the stroke ends
    const { stroke } = this;
    if (!stroke) return;
    const image = this.shown.image.slice();
    for (const { brush, at } of points) {
      drawLine(image, this.store.facts.inputShape, brush, stroke.last, at, stroke.covered, stroke.before);
      stroke.last = at;
    }
    this.#show({ image, label: null });
  }

  end() {
    this.stroke = null;
  }

  undo() {
    this.follow();
    this.stroke = null;
    const last = this.past.pop();
    if (last) this.#show(last);
  }

  clear() {
    this.follow();
    this.#remember();
    this.stroke = null;
    this.#show({ image: emptyImage(this.store.facts), label: null });
  }
}

/**
 * Widths of brushes for images of a size, in pixels.
 *
 * @param {number} height
 * @param {number} width
 */
export function brushWidths(height, width) {
  const side = Math.min(height, width);
  return [...new Set([28, 14, 7, 3.5].map((part) => Math.max(1, Math.round(side / part))))];
}

/**
 * A number from 0 to 1 for each channel, of a color as an input element gives it: `#ff8000`.
 *
 * @param {string} color
 * @param {number} channels
 */
export function channelsOf(color, channels) {
  const parts = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16) / 255);
  return Array.from({ length: channels }, (_, k) => parts[channels === 3 ? k : 0]);
}
