/** The calculation of a number, in lines with the real numbers. */

import { number, text } from "../dom.js";
import { activationOf, softmax } from "../forward.js";

/**
 * @typedef {import("../trace.js").Trace} Trace
 * @typedef {import("../store.js").Pass} Pass
 */

const MOST_TERMS = 6; // of a sum that is written out

/**
 * @param {Trace} trace
 * @param {Pass} pass
 * @returns {string[]}
 */
export function equationsOf(trace, pass) {
  const { layer, place } = trace;
  const lines = layer.kind === "pool" ? [poolEquation(trace)] : [];
  if (layer.kind === "conv" || layer.kind === "dense") lines.push(...sumEquations(trace));
  if (pass.model.off.has(`${layer.name}:${place.channel}`)) lines.push(text("number.off"));
  if (place.layer === pass.model.layers.length - 1) lines.push(softmaxEquation(trace, pass));
  return lines;
}

/**
 * A number with more digits than in a table, because it is part of a calculation.
 *
 * @param {number} value
 */
export function exactly(value) {
  return number(value, Math.abs(value) < 0.01 ? 6 : 4);
}

/** @param {Trace} trace of a pooling */
function poolEquation({ layer, windows, sum }) {
  const { inputs } = windows[0];
  const values = { count: inputs.length, value: exactly(sum) };
  if (layer.pooling === "max") return text("number.max", values);
  if (inputs.length > MOST_TERMS) return text("number.mean", values);
  return text("number.average", { ...values, terms: sumOf(inputs) });
}

/** @param {Trace} trace of a convolution or a dense layer */
function sumEquations({ layer, windows, bias, sum }) {
  const terms = layer.kind === "conv" && windows.length <= MOST_TERMS
    ? sumOf(windows.map((window) => window.sum))
    : inTerm(sum - bias);
  const lines = [text("number.sum", { terms, bias: inTerm(bias), sum: exactly(sum) })];
  if (layer.activation) {
    const value = exactly(activationOf(layer.activation)(sum));
    lines.push(text("number.activation", { activation: layer.activation, sum: exactly(sum), value }));
  }
  return lines;
}

/**
 * @param {Trace} trace of a logit
 * @param {Pass} pass
 */
function softmaxEquation({ place, value }, pass) {
  const logits = pass.steps[pass.steps.length - 1].output;
  const largest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
  return text("number.softmax", {
    logit: exactly(value),
    largest: inTerm(largest),
    power: exactly(Math.exp(value - largest)),
    sum: exactly(sum),
    probability: exactly(softmax(logits)[place.channel]),
  });
}

/** @param {number[]} terms */
function sumOf(terms) {
  return terms.map(inTerm).join(" + ");
}

/**
 * A number in a sum: in parentheses if it is negative.
 *
 * @param {number} value
 */
function inTerm(value) {
  return value < 0 ? `(${exactly(value)})` : exactly(value);
}
