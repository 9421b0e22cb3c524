/** What a reader can break: a changed copy of a network, for each mistake of porting and each exercise. */

import { parameter } from "./network.js";

/**
 * @typedef {import("./network.js").Model} Model
 * @typedef {import("./network.js").Layer} Layer
 *
 * @typedef {object} Changes
 * @property {string[]} off channels that output zeros, as `conv1:3`
 * @property {"" | "avg" | "max"} pooling of every pooling layer; empty to keep them
 * @property {"" | "sigmoid" | "tanh" | "relu"} activation of every layer that has one; empty to keep them
 * @property {boolean} channelsLast flatten runs through the channels last, and the dense layer's weights are not permuted
 * @property {string} transposed the convolution whose kernels have height and width exchanged; empty for none
 * @property {string} shifted the convolution whose padding is moved by one pixel; empty for none
 * @property {number} noise standard deviation of noise on the weights, in units of that of each layer's weights
 */

/** @type {Readonly<Changes>} */
export const NO_CHANGES = Object.freeze({
  off: [],
  pooling: "",
  activation: "",
  channelsLast: false,
  transposed: "",
  shifted: "",
  noise: 0,
});

/**
 * Those of the changes that change a network: the average of windows is none where it is the average anyway, and a layer
 * that the network lacks cannot be broken.
 *
 * @param {Model} model
 * @param {Changes} changes
 * @returns {Changes}
 */
export function effectiveChanges({ layers }, changes) {
  const has = (/** @type {(layer: Layer) => boolean} */ fits) => layers.some(fits);
  const { pooling, activation, transposed, shifted } = changes;
  const isConvolution = (/** @type {Layer} */ layer, /** @type {string} */ name) =>
    layer.kind === "conv" && layer.name === name;
  return {
    off: changes.off.filter((place) => has((layer) => hasChannel(layer, place))),
    pooling: has((layer) => layer.kind === "pool" && layer.pooling !== pooling) ? pooling : "",
    activation: has((layer) => layer.activation !== null && layer.activation !== activation) ? activation : "",
    channelsLast: changes.channelsLast && has(orderMatters),
    transposed: has((layer) => isConvolution(layer, transposed) && layer.size > 1) ? transposed : "",
    shifted: has((layer) => isConvolution(layer, shifted)) ? shifted : "",
    noise: changes.noise,
  };
}

/**
 * @param {Layer} layer
 * @param {string} place of a channel that can be switched off, as `conv1:3`
 */
function hasChannel(layer, place) {
  const [name, channel] = place.split(":");
  return layer.kind !== "flatten" && layer.name === name && Number(channel) < layer.outputShape[0];
}

/**
 * Whether a layer flattens maps of which the order matters.
 *
 * @param {Layer} layer
 */
export function orderMatters({ kind, inputShape }) {
  return kind === "flatten" && inputShape[0] > 1 && inputShape[1] * inputShape[2] > 1;
}

/**
 * @param {Model} model
 * @param {Changes} changes
 */
export function areChanges(model, changes) {
  return JSON.stringify(effectiveChanges(model, changes)) !== JSON.stringify(NO_CHANGES);
}

/** @type {WeakMap<Model, WeakMap<Changes, Model>>} what was made: for the same changes the same network is returned */
const changedModels = new WeakMap();

/**
 * @param {Model} model stays as it is
 * @param {Changes} changes
 * @returns {Model} the model itself if nothing is changed
 */
export function changed(model, changes) {
  const known = changedModels.get(model) ?? new WeakMap();
  const copy = known.get(changes) ?? (areChanges(model, changes) ? changedCopy(model, changes) : model);
  changedModels.set(model, known.set(changes, copy));
  return copy;
}

/**
 * @param {Model} model
 * @param {Changes} changes
 * @returns {Model}
 */
function changedCopy(model, changes) {
  const parameters = new Map(model.parameters);
  if (changes.noise > 0) addNoise(parameters, changes.noise);
  const transposed = model.layers.find((layer) => layer.name === changes.transposed);
  if (transposed) {
    const name = `${transposed.name}.weight`;
    parameters.set(name, transposeKernels(transposed.size, parameter({ ...model, parameters }, name)));
  }
  const layers = model.layers.map((layer) => ({
    ...layer,
    pooling: changes.pooling || layer.pooling,
    activation: layer.activation && (changes.activation || layer.activation),
    shift: layer.name === changes.shifted ? 1 : 0,
  }));
  return { ...model, layers, parameters, off: new Set(changes.off), channelsLast: changes.channelsLast };
}

/**
 * @param {number} size
 * @param {Float32Array} weight (out, in, size, size)
 */
function transposeKernels(size, weight) {
  return weight.map((_, at) => {
    const [i, j] = [Math.floor(at / size) % size, at % size];
    return weight[at - i * size - j + j * size + i];
  });
}

/**
 * The same noise each time, so that a page shows the same numbers twice.
 *
 * @param {Map<string, Float32Array>} parameters changed: the arrays of weights are replaced
 * @param {number} scale
 */
function addNoise(parameters, scale) {
  const random = randomNumbers(1);
  for (const [name, values] of parameters) {
    if (!name.endsWith(".weight")) continue;
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
    const noisy = values.map((value) => value + scale * deviation * normal(random));
    parameters.set(name, noisy);
  }
}

/**
 * Mulberry32, a small generator of random numbers from 0 to 1.
 *
 * @param {number} seed
 */
function randomNumbers(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * A number of the standard normal distribution (Box and Muller).
 *
 * @param {() => number} random
 */
function normal(random) {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
