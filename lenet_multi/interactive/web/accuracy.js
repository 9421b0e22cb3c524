/** The accuracy of a network on the images that travel along; what is known of a network is not counted again. */

import { largestIndex, logitsOf } from "./forward.js";
import { inSlices } from "./slices.js";

/**
 * @typedef {import("./network.js").Model} Model
 * @typedef {import("./store.js").Example} Example
 *
 * @typedef {object} Counts
 * @property {number} images
 * @property {number} correct
 * @property {number[]} correctOf each class
 * @property {number[]} imagesOf each class
 */

/** @type {WeakMap<Model, {examples: Example[], counts: Counts}>} */
const knownCounts = new WeakMap();

/**
 * Count the correct predictions, in slices.
 *
 * @param {Model} model
 * @param {Example[]} examples
 * @param {number} classes
 * @param {() => boolean} isWanted
 * @param {(done: number) => void} report
 * @returns {Promise<Counts | null>} null if the work was abandoned
 */
export async function countCorrect(model, examples, classes, isWanted, report) {
  const known = knownCounts.get(model);
  if (known?.examples === examples) return known.counts;
  const [correctOf, imagesOf] = [new Array(classes).fill(0), new Array(classes).fill(0)];
  const predict = (/** @type {number} */ n) => {
    const { image, label } = examples[n];
    imagesOf[label] += 1;
    if (largestIndex(logitsOf(model, image)) === label) correctOf[label] += 1;
  };
  if (!(await inSlices(examples.length, predict, isWanted, report))) return null;
  const counts = { images: examples.length, correct: correctOf.reduce((a, b) => a + b, 0), correctOf, imagesOf };
  knownCounts.set(model, { examples, counts });
  return counts;
}

/**
 * The class that loses most correct predictions.
 *
 * @param {Counts} before
 * @param {Counts} after
 * @returns {number | null} the first of several, null if none loses any
 */
export function mostHurtClass(before, after) {
  const losses = before.correctOf.map((count, label) => count - after.correctOf[label]);
  const most = Math.max(...losses);
  return most > 0 ? losses.indexOf(most) : null;
}
