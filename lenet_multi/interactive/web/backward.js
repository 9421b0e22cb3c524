/** The backward pass: the gradient of the loss with respect to every layer's input, down to the pixels. */

import { softmax } from "./forward.js";
import { parameter, sizeOf } from "./network.js";

/**
 * @typedef {import("./network.js").Model} Model
 * @typedef {import("./network.js").Layer} Layer
 * @typedef {import("./network.js").Activation} Activation
 * @typedef {import("./forward.js").Step} Step
 */

/**
 * The gradients of the cross-entropy loss -log p[label] of one image.
 *
 * @param {Model} model
 * @param {Step[]} steps its forward pass
 * @param {number} label
 * @returns {Float64Array[]} with respect to the input of each layer; the first is that of the pixels
 */
export function inputGradients(model, steps, label) {
  const gradients = new Array(steps.length);
  let gradient = softmax(steps[steps.length - 1].output);
  gradient[label] -= 1;
  for (let n = steps.length - 1; n >= 0; n--) {
    gradient = gradients[n] = layerGradient(model, model.layers[n], steps[n], gradient);
  }
  return gradients;
}

/**
 * @param {Model} model
 * @param {Layer} layer
 * @param {Step} step
 * @param {Float64Array} gradient with respect to the layer's output
 */
function layerGradient(model, layer, step, gradient) {
  const ofSums = gradient.map((value, i) => value * slope(layer.activation, step, i));
  zeroSwitchedOff(model, layer, ofSums);
  switch (layer.kind) {
    case "conv":
      return convolutionGradient(layer, parameter(model, `${layer.name}.weight`), ofSums);
    case "pool":
      return poolGradient(layer, step.input, ofSums);
    case "flatten":
      return flattenGradient(layer, ofSums, model.channelsLast);
    default:
      return denseGradient(layer, parameter(model, `${layer.name}.weight`), ofSums);
  }
}

/**
 * The derivative of an activation.
 *
 * @param {Activation} activation
 * @param {Step} step
 * @param {number} i
 */
function slope(activation, step, i) {
  if (activation === null) return 1;
  if (activation === "relu") return step.sums[i] > 0 ? 1 : 0;
  const output = step.output[i];
  return activation === "sigmoid" ? output * (1 - output) : 1 - output * output;
}

/**
 * @param {Model} model
 * @param {Layer} layer
 * @param {Float64Array} gradient changed in place: a channel that is switched off passes nothing on
 */
function zeroSwitchedOff(model, layer, gradient) {
  if (layer.kind === "flatten") return;
  const channels = layer.outputShape[0];
  const area = gradient.length / channels;
  for (const name of model.off) {
    const [of, channel] = name.split(":");
    if (of === layer.name) gradient.fill(0, Number(channel) * area, (Number(channel) + 1) * area);
  }
}

/**
 * @param {Layer} layer
 * @param {Float32Array} weight (out, in, size, size)
 * @param {Float64Array} gradient
 */
function convolutionGradient(layer, weight, gradient) {
  const [inChannels, inHeight, inWidth] = layer.inputShape;
  const [outChannels, height, width] = layer.outputShape;
  const { size } = layer;
  const start = layer.padding + layer.shift;
  const result = new Float64Array(sizeOf(layer.inputShape));
  for (let o = 0; o < outChannels; o++) {
    for (let c = 0; c < inChannels; c++) {
      for (let i = 0; i < size; i++) {
        for (let j = 0; j < size; j++) {
          const factor = weight[((o * inChannels + c) * size + i) * size + j];
          const first = Math.max(0, start - j);
          const last = Math.min(width, inWidth + start - j);
          for (let y = Math.max(0, start - i); y < Math.min(height, inHeight + start - i); y++) {
            const to = (c * inHeight + y + i - start) * inWidth + j - start;
            const from = (o * height + y) * width;
            for (let x = first; x < last; x++) result[to + x] += factor * gradient[from + x];
          }
        }
      }
    }
  }
  return result;
}

/**
 * @param {Layer} layer
 * @param {Float64Array} input
 * @param {Float64Array} gradient
 */
function poolGradient(layer, input, gradient) {
  const [channels, height, width] = layer.outputShape;
  const [, inHeight, inWidth] = layer.inputShape;
  const { size, stride } = layer;
  const result = new Float64Array(input.length);
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const share = gradient[(c * height + y) * width + x];
        const corner = (c * inHeight + y * stride) * inWidth + x * stride;
        let winner = corner;
        for (let i = 0; i < size; i++) {
          for (let j = 0; j < size; j++) {
            const at = corner + i * inWidth + j;
            if (layer.pooling === "avg") result[at] += share / (size * size);
            else if (input[at] > input[winner]) winner = at; // the first of equal ones, row by row
          }
        }
        if (layer.pooling === "max") result[winner] += share;
      }
    }
  }
  return result;
}

/**
 * @param {Layer} layer
 * @param {Float64Array} gradient
 * @param {boolean} channelsLast
 */
function flattenGradient(layer, gradient, channelsLast) {
  if (!channelsLast) return gradient;
  const [channels, height, width] = layer.inputShape;
  return gradient.map((_, i) => gradient[(i % (height * width)) * channels + Math.floor(i / (height * width))]);
}

/**
 * @param {Layer} layer
 * @param {Float32Array} weight (out, in)
 * @param {Float64Array} gradient
 */
function denseGradient(layer, weight, gradient) {
  const units = layer.inputShape[0];
  const result = new Float64Array(units);
  for (let o = 0; o < gradient.length; o++) {
    for (let i = 0; i < units; i++) result[i] += weight[o * units + i] * gradient[o];
  }
  return result;
}
