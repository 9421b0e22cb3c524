/** Which parts of an image matter: the probability of a class while a square of the image is covered. */

import { logitsOf, softmax } from "./forward.js";

/** @typedef {import("./network.js").Model} Model */

/**
 * The covered squares of an image, whose corners have a distance of half a side.
 *
 * @param {Model} model
 * @param {number} side of the square, in pixels
 * @returns {{top: number, left: number}[]}
 */
export function squares(model, side) {
  const [, height, width] = model.inputShape;
  const step = Math.max(1, Math.floor(side / 2));
  const starts = (/** @type {number} */ length) => {
    const last = Math.max(0, length - side);
    const inner = Array.from({ length: Math.ceil(last / step) }, (_, n) => n * step);
    return [...inner, last];
  };
  return starts(height).flatMap((top) => starts(width).map((left) => ({ top, left })));
}

/**
 * The probability of a class when one square is covered with the background.
 *
 * @param {Model} model
 * @param {Float64Array} image
 * @param {number} label
 * @param {{top: number, left: number}} square
 * @param {number} side
 * @param {number} background the value of a covered pixel
 */
export function probabilityWithout(model, image, label, square, side, background) {
  const [channels, height, width] = model.inputShape;
  const covered = image.slice();
  for (let c = 0; c < channels; c++) {
    for (let y = square.top; y < Math.min(height, square.top + side); y++) {
      const row = (c * height + y) * width;
      covered.fill(background, row + square.left, row + Math.min(width, square.left + side));
    }
  }
  return softmax(logitsOf(model, covered))[label];
}

/**
 * For each pixel, how much the probability falls on average while one of the squares covers it.
 *
 * @param {Model} model
 * @param {{top: number, left: number}[]} all
 * @param {number} side
 * @param {number[]} falls one for each square
 * @returns {Float64Array} (height, width)
 */
export function occlusionMap(model, all, side, falls) {
  const [, height, width] = model.inputShape;
  const [sums, counts] = [new Float64Array(height * width), new Float64Array(height * width)];
  all.forEach(({ top, left }, n) => {
    for (let y = top; y < Math.min(height, top + side); y++) {
      for (let x = left; x < Math.min(width, left + side); x++) {
        sums[y * width + x] += falls[n];
        counts[y * width + x] += 1;
      }
    }
  });
  return sums.map((sum, i) => (counts[i] ? sum / counts[i] : 0));
}
