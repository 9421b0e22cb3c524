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

/** @param {Changes} changes */
export function areChanges(changes) {
  return JSON.stringify(changes) !== JSON.stringify({ ...NO_CHANGES });
}

/** @type {WeakMap<Model, WeakMap<Changes, Model>>} what was made: for the same changes the same network is returned */
const changedModels = new WeakMap();

/**
 * @param {Model} model stays as it is
 * @param {Changes} changes
 * @returns {Model} the model itself if nothing is changed
 */
export function changed(model, changes) {
  if (!areChanges(changes)) return model;
  const known = changedModels.get(model) ?? new WeakMap();
  const copy = known.get(changes) ?? changedCopy(model, changes);
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
