/** Which layers of two networks are compared, and how far they differ. */

/**
 * @typedef {import("./network.js").Layer} Layer
 * @typedef {import("./store.js").Pass} Pass
 *
 * @typedef {object} Pair layers of the same name; null where a network has none
 * @property {number | null} a
 * @property {number | null} b
 * @property {boolean} isComparable whether both have outputs of the same shape
 */

/** Differences of the outputs up to here are rounding: of float32, grown over the layers. */
export const ROUNDING = 1e-4;

/**
 * The layers of two networks in pairs, each network in its order.
 *
 * @param {Layer[]} a
 * @param {Layer[]} b empty if there is one network only
 * @returns {Pair[]}
 */
export function pairLayers(a, b) {
  /** @type {Pair[]} */
  const pairs = [];
  let next = 0; // layer of b
  const alone = (/** @type {number} */ index) => ({ a: null, b: index, isComparable: false });
  a.forEach((layer, index) => {
    const match = b.findIndex(({ name }, n) => n >= next && name === layer.name);
    while (next < match) pairs.push(alone(next++));
    const isComparable = match >= 0 && String(b[match].outputShape) === String(layer.outputShape);
    pairs.push({ a: index, b: match < 0 ? null : match, isComparable });
    next = Math.max(next, match + 1);
  });
  while (next < b.length) pairs.push(alone(next++));
  return pairs;
}

/**
 * The largest |A − B| of each pair that is compared, in the order of the layers.
 *
 * @param {Pass} a
 * @param {Pass} b
 * @returns {{layer: Layer, most: number}[]}
 */
export function differencesOf(a, b) {
  return pairLayers(a.model.layers, b.model.layers).flatMap((pair) => {
    if (!pair.isComparable || pair.a === null || pair.b === null) return [];
    const [ofA, ofB] = [a.steps[pair.a].output, b.steps[pair.b].output];
    const most = ofA.reduce((largest, value, i) => Math.max(largest, Math.abs(value - ofB[i])), 0);
    return [{ layer: a.model.layers[pair.a], most }];
  });
}
