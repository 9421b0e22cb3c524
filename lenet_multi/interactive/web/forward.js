/** The forward pass, one image at a time, in float64. */

import { parameter, sizeOf } from "./network.js";

/**
 * @typedef {import("./network.js").Model} Model
 * @typedef {import("./network.js").Layer} Layer
 * @typedef {import("./network.js").Activation} Activation
 *
 * @typedef {object} Step what one layer computed
 * @property {Float64Array} input
 * @property {Float64Array} sums before the activation; the output itself for a layer without one
 * @property {Float64Array} output
 */

/**
 * The forward pass of an image.
 *
 * @param {Model} model
 * @param {Float64Array} image (channels, height, width), with pixels from 0 to 1
 * @returns {Step[]} one for each layer
 */
export function forward(model, image) {
  const steps = [];
  let input = image;
  for (const layer of model.layers) {
    const sums = layerSums(model, layer, input);
    const output = layer.activation === null ? sums : sums.map(activationOf(layer.activation));
    switchOff(model, layer, output);
    steps.push({ input, sums, output });
    input = output;
  }
  return steps;
}

/**
 * @param {Model} model
 * @param {Layer} layer
 * @param {Float64Array} input
 * @returns {Float64Array}
 */
function layerSums(model, layer, input) {
  switch (layer.kind) {
    case "conv":
      return convolve(layer, input, parameter(model, `${layer.name}.weight`), parameter(model, `${layer.name}.bias`));
    case "pool":
      return pool(layer, input);
    case "flatten":
      return flatten(layer, input, model.channelsLast);
    default:
      return multiply(input, parameter(model, `${layer.name}.weight`), parameter(model, `${layer.name}.bias`));
  }
}

/**
 * @param {Layer} layer
 * @param {Float64Array} input
 * @param {Float32Array} weight (out, in, size, size)
 * @param {Float32Array} bias
 */
function convolve(layer, input, weight, bias) {
  const [inChannels, inHeight, inWidth] = layer.inputShape;
  const [outChannels, height, width] = layer.outputShape;
  const { size } = layer;
  const start = layer.padding + layer.shift;
  const output = new Float64Array(sizeOf(layer.outputShape));
  for (let o = 0; o < outChannels; o++) {
    const map = o * height * width;
    output.fill(bias[o], map, map + height * width);
    for (let c = 0; c < inChannels; c++) {
      for (let i = 0; i < size; i++) {
        // The output pixel (y, x) uses the input pixel (y + i - start, x + j - start); outside the image there are zeros.
        const firstRow = Math.max(0, start - i);
        const lastRow = Math.min(height, inHeight + start - i);
        for (let j = 0; j < size; j++) {
          const factor = weight[((o * inChannels + c) * size + i) * size + j];
          const first = Math.max(0, start - j);
          const last = Math.min(width, inWidth + start - j);
          for (let y = firstRow; y < lastRow; y++) {
            const from = (c * inHeight + y + i - start) * inWidth + j - start;
            const to = map + y * width;
            for (let x = first; x < last; x++) output[to + x] += factor * input[from + x];
          }
        }
      }
    }
  }
  return output;
}

/**
 * @param {Layer} layer
 * @param {Float64Array} input
 */
function pool(layer, input) {
  const [channels, height, width] = layer.outputShape;
  const output = new Float64Array(sizeOf(layer.outputShape));
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        output[(c * height + y) * width + x] = poolWindow(layer, input, c, y, x);
      }
    }
  }
  return output;
}

/**
 * @param {Layer} layer
 * @param {Float64Array} input
 * @param {number} c
 * @param {number} y of the output
 * @param {number} x of the output
 */
function poolWindow(layer, input, c, y, x) {
  const [, inHeight, inWidth] = layer.inputShape;
  const { size, stride } = layer;
  let largest = -Infinity;
  let sum = 0;
  for (let i = 0; i < size; i++) {
    const row = (c * inHeight + y * stride + i) * inWidth + x * stride;
    for (let j = 0; j < size; j++) {
      const value = input[row + j];
      sum += value;
      if (value > largest) largest = value;
    }
  }
  return layer.pooling === "max" ? largest : sum / (size * size);
}

/**
 * @param {Layer} layer
 * @param {Float64Array} input
 * @param {boolean} channelsLast
 */
function flatten(layer, input, channelsLast) {
  if (!channelsLast) return input.slice();
  return new Float64Array(input.length).map((_, place) => input[placeInMaps(layer, place, true)]);
}

/**
 * The index in the maps (channels, height, width) of the number at a place of the flattened vector.
 *
 * @param {Layer} layer
 * @param {number} place
 * @param {boolean} channelsLast
 */
export function placeInMaps(layer, place, channelsLast) {
  if (!channelsLast) return place;
  const [channels, height, width] = layer.inputShape;
  return (place % channels) * height * width + Math.floor(place / channels);
}

/**
 * @param {Float64Array} input
 * @param {Float32Array} weight (out, in)
 * @param {Float32Array} bias
 */
function multiply(input, weight, bias) {
  const output = Float64Array.from(bias);
  for (let o = 0; o < output.length; o++) {
    let sum = 0;
    for (let i = 0, from = o * input.length; i < input.length; i++) sum += weight[from + i] * input[i];
    output[o] += sum;
  }
  return output;
}

/**
 * @param {Exclude<Activation, null>} name
 * @returns {(x: number) => number}
 */
export function activationOf(name) {
  if (name === "sigmoid") return (x) => 1 / (1 + Math.exp(-x));
  return name === "tanh" ? Math.tanh : (x) => (x > 0 ? x : 0);
}

/**
 * @param {Model} model
 * @param {Layer} layer
 * @param {Float64Array} output changed in place
 */
function switchOff(model, layer, output) {
  if (!model.off.size || layer.kind === "flatten") return;
  const channels = layer.outputShape[0];
  const area = output.length / channels;
  for (let c = 0; c < channels; c++) {
    if (model.off.has(`${layer.name}:${c}`)) output.fill(0, c * area, (c + 1) * area);
  }
}

/**
 * Probabilities from logits.
 *
 * @param {Float64Array} logits
 * @returns {Float64Array}
 */
export function softmax(logits) {
  const largest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = logits.map((logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** @param {Float64Array} values */
export function largestIndex(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/**
 * The logits of an image.
 *
 * @param {Model} model
 * @param {Float64Array} image
 */
export function logitsOf(model, image) {
  const steps = forward(model, image);
  return steps[steps.length - 1].output;
}
