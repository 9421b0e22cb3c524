/** Where a number comes from: the numbers of the layer before, the weights, and what was computed with them. */

import { placeInMaps } from "./forward.js";
import { parameter, sizeOf } from "./network.js";

/**
 * @typedef {import("./network.js").Model} Model
 * @typedef {import("./network.js").Layer} Layer
 * @typedef {import("./forward.js").Step} Step
 *
 * @typedef {object} Place a number in the output of a layer; y and x are 0 after flatten
 * @property {number} layer
 * @property {number} channel or unit
 * @property {number} y
 * @property {number} x
 *
 * @typedef {object} InputWindow the window of one input channel, all (size * size), row by row
 * @property {number} channel
 * @property {number[]} inputs zeros outside of the image
 * @property {number[]} weights empty for a pooling
 * @property {number[]} products empty for a pooling
 * @property {number} sum of the products
 *
 * @typedef {object} Contribution of one input to a dense unit
 * @property {number} index of the input
 * @property {number} input
 * @property {number} weight
 * @property {number} product
 *
 * @typedef {object} Trace
 * @property {Layer} layer
 * @property {Place} place
 * @property {number} value the number
 * @property {number} sum before the activation
 * @property {number} bias 0 for a layer that has none
 * @property {{top: number, left: number, size: number} | null} window its position in the input, which can begin outside
 * @property {InputWindow[]} windows of a convolution, one for each input channel; of a pooling, its one
 * @property {Contribution[]} contributions of a dense layer, the largest first
 * @property {{channel: number, y: number, x: number, channelsFirst: number, channelsLast: number} | null} source of a number of
 *   the flattened vector: its map, and its index when the channels come first (PyTorch, Gluon) or last (Keras, Flax)
 */

/**
 * The index of a place in the layer's output.
 *
 * @param {{outputShape: number[]}} layer
 * @param {Place} place
 */
export function indexOf(layer, place) {
  if (layer.outputShape.length === 1) return place.channel;
  const [, height, width] = layer.outputShape;
  return (place.channel * height + place.y) * width + place.x;
}

/**
 * @param {Model} model
 * @param {Step[]} steps
 * @param {Place} place
 * @returns {Trace}
 */
export function traceOf(model, steps, place) {
  const layer = model.layers[place.layer];
  const step = steps[place.layer];
  const index = indexOf(layer, place);
  /** @type {Trace} */
  const trace = {
    layer,
    place,
    value: step.output[index],
    sum: step.sums[index],
    bias: 0,
    window: null,
    windows: [],
    contributions: [],
    source: null,
  };
  if (layer.kind === "flatten") trace.source = sourceOf(layer, placeInMaps(layer, index, model.channelsLast));
  if (layer.kind === "conv" || layer.kind === "dense") {
    trace.bias = parameter(model, `${layer.name}.bias`)[place.channel];
  }
  if (layer.kind === "dense") trace.contributions = contributionsTo(model, layer, step, place.channel);
  if (layer.kind === "conv" || layer.kind === "pool") {
    const start = layer.padding + layer.shift;
    const [top, left] = [place.y * layer.stride - start, place.x * layer.stride - start];
    trace.window = { top, left, size: layer.size };
    const weight = layer.kind === "conv" ? parameter(model, `${layer.name}.weight`) : null;
    const channels = layer.kind === "conv" ? [...Array(layer.inputShape[0]).keys()] : [place.channel];
    trace.windows = channels.map((channel) => windowOf(layer, step.input, weight, place, channel, top, left));
  }
  return trace;
}

/**
 * @param {Layer} layer
 * @param {Float64Array} input
 * @param {Float32Array | null} weight
 * @param {Place} place
 * @param {number} channel of the input
 * @param {number} top
 * @param {number} left
 * @returns {InputWindow}
 */
function windowOf(layer, input, weight, place, channel, top, left) {
  const [inChannels, height, width] = layer.inputShape;
  const { size } = layer;
  const cells = Array.from({ length: size * size }, (_, at) => [Math.floor(at / size), at % size]);
  const inputs = cells.map(([i, j]) => {
    const [y, x] = [top + i, left + j];
    return y < 0 || x < 0 || y >= height || x >= width ? 0 : input[(channel * height + y) * width + x];
  });
  const start = (place.channel * inChannels + channel) * size * size;
  const weights = weight ? Array.from(weight.subarray(start, start + size * size)) : [];
  const products = weights.map((value, at) => value * inputs[at]);
  return { channel, inputs, weights, products, sum: products.reduce((a, b) => a + b, 0) };
}

/**
 * @param {Model} model
 * @param {Layer} layer
 * @param {Step} step
 * @param {number} unit
 */
function contributionsTo(model, layer, step, unit) {
  const weight = parameter(model, `${layer.name}.weight`);
  const count = sizeOf(layer.inputShape);
  /** @type {Contribution[]} */
  const found = Array.from(step.input, (input, index) => {
    const factor = weight[unit * count + index];
    return { index, input, weight: factor, product: factor * input };
  });
  return found.sort((a, b) => Math.abs(b.product) - Math.abs(a.product) || a.index - b.index);
}

/**
 * @param {Layer} layer flatten
 * @param {number} inMaps index in (channels, height, width)
 */
function sourceOf(layer, inMaps) {
  const [channels, height, width] = layer.inputShape;
  const [channel, y, x] = [Math.floor(inMaps / (height * width)), Math.floor(inMaps / width) % height, inMaps % width];
  return { channel, y, x, channelsFirst: inMaps, channelsLast: (y * width + x) * channels + channel };
}
