/** The points of a run's curves. */

/** @typedef {import("./store.js").Point} Point */

const MOST_POINTS = 300; // of a curve, as in Python

/**
 * What was measured at an epoch: nulls where nothing was.
 *
 * @param {Point[]} points
 * @param {number} epoch
 * @returns {Point}
 */
export function pointAt(points, epoch) {
  const found = points.find((point) => Math.abs(point.epoch - epoch) < 1e-6); // points are rounded
  return found ?? { epoch, loss: null, trainAccuracy: null, testAccuracy: null };
}

/**
 * As many points as a page shows: of many, only ends of epochs, evenly spaced, and the last is one of them.
 *
 * @param {Point[]} points
 */
export function thinned(points) {
  const ends = points.length > MOST_POINTS ? points.filter(({ testAccuracy }) => testAccuracy !== null) : points;
  const step = Math.ceil(ends.length / MOST_POINTS);
  return ends.filter((_, n) => (ends.length - 1 - n) % step === 0);
}
