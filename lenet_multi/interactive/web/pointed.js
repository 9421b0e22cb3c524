/** The number that is pointed at: its name, its value, its trace, and where its inputs are in the layer before. */

import { text } from "./dom.js";
import { pairLayers } from "./matching.js";
import { indexOf, traceOf } from "./trace.js";

/**
 * @typedef {import("./network.js").Layer} Layer
 * @typedef {import("./network.js").Model} Model
 * @typedef {import("./store.js").Pass} Pass
 * @typedef {import("./store.js").SideName} SideName
 * @typedef {import("./store.js").Store} Store
 * @typedef {import("./trace.js").Place} Place
 * @typedef {import("./trace.js").Trace} Trace
 *
 * @typedef {object} Region of a layer's output
 * @property {number | null} channel or unit; null for every channel
 * @property {number} top
 * @property {number} left
 * @property {number} size
 */

export const INPUT = -1; // the layer of a place in the image

const MOST_INPUTS = 10; // of a dense unit that are marked

/**
 * @param {Model} model
 * @param {number} layer
 */
export function shapeAt(model, layer) {
  return layer === INPUT ? model.inputShape : model.layers[layer].outputShape;
}

/**
 * @param {Model} model
 * @param {number} layer
 */
export function layerName(model, layer) {
  return layer === INPUT ? text("pointed.input") : model.layers[layer].name;
}

/**
 * The outputs of a layer, or the image.
 *
 * @param {Pass} pass
 * @param {number} layer
 */
export function numbersAt(pass, layer) {
  return layer === INPUT ? pass.steps[0].input : pass.steps[layer].output;
}

/**
 * @param {Pass} pass
 * @param {Place} place
 */
export function valueAt(pass, place) {
  return numbersAt(pass, place.layer)[indexOf({ outputShape: shapeAt(pass.model, place.layer) }, place)];
}

/**
 * The place of the number with an index in a layer's output.
 *
 * @param {Model} model
 * @param {number} layer
 * @param {number} index
 * @returns {Place}
 */
export function placeAt(model, layer, index) {
  const [, height, width] = shapeAt(model, layer);
  if (height === undefined) return { layer, channel: index, y: 0, x: 0 };
  const inMap = index % (height * width);
  return { layer, channel: Math.floor(index / (height * width)), y: Math.floor(inMap / width), x: inMap % width };
}

/**
 * The pass and the place that is pointed at; null if there is none, or if the network has no such place any more.
 *
 * @param {Store} store
 * @returns {{pass: Pass, place: NonNullable<import("./store.js").State["place"]>} | null}
 */
export function pointed(store) {
  const { place } = store.state;
  const pass = place && store.passes[place.side];
  if (!pass || place.layer >= pass.model.layers.length) return null;
  const [channels, height = 1, width = 1] = shapeAt(pass.model, place.layer);
  return place.channel < channels && place.y < height && place.x < width ? { pass, place } : null;
}

/**
 * The numbers of A and of B where their difference is pointed at; null elsewhere.
 *
 * @param {Store} store
 */
export function pointedDifference(store) {
  const place = pointed(store)?.place;
  const { a, b } = store.passes;
  if (!place?.isDifference || !b) return null;
  const pair = pairLayers(a.model.layers, b.model.layers).find((each) => each.a === place.layer);
  if (!pair?.isComparable || pair.b === null) return null;
  return { a: valueAt(a, place), b: valueAt(b, { ...place, layer: pair.b }) };
}

/** @type {WeakMap<Pass, Trace>} */
const traces = new WeakMap();

/**
 * The trace of the number that is pointed at; null for a pixel.
 *
 * @param {Store} store
 */
export function pointedTrace(store) {
  const found = pointed(store);
  if (!found || found.place.layer === INPUT) return null;
  const { pass, place } = found;
  let trace = traces.get(pass);
  if (trace?.place !== place) {
    trace = traceOf(pass.model, pass.steps, place);
    traces.set(pass, trace);
  }
  return trace;
}

/**
 * @param {Model} model
 * @param {string[]} classes
 * @param {Place} place
 */
export function placeName(model, classes, place) {
  const layer = layerName(model, place.layer);
  if (shapeAt(model, place.layer).length === 3) {
    const { channel, y, x } = place;
    return text("pointed.map", { layer, channel: channel + 1, row: y + 1, column: x + 1 });
  }
  const isLogit = place.layer === model.layers.length - 1 && place.channel < classes.length;
  const name = isLogit ? classes[place.channel] : "";
  return text(isLogit ? "pointed.logit" : "pointed.unit", { layer, unit: place.channel + 1, name });
}

/**
 * Where the inputs of a traced number are in the layer before; of a dense unit, those that contribute most.
 *
 * @param {Trace} trace
 * @returns {Region[]}
 */
export function sourceRegions({ layer, place, window, contributions, source }) {
  if (window) return [{ channel: layer.kind === "pool" ? place.channel : null, ...window }];
  if (source) return [{ channel: source.channel, top: source.y, left: source.x, size: 1 }];
  return contributions.slice(0, MOST_INPUTS).map(({ index }) => ({ channel: index, top: 0, left: 0, size: 1 }));
}

/**
 * The layer that makes the channels of a layer's output: a pooling keeps those of the layer before.
 *
 * @param {Layer[]} layers
 * @param {number} layer
 */
export function originOf(layers, layer) {
  while (layer > INPUT && layers[layer].kind === "pool") layer -= 1;
  return layer;
}

/**
 * The channel of a layer's output that is highlighted, in this layer or in one with the same channels; else null.
 *
 * @param {Model} model
 * @param {number} layer
 * @param {{layer: string, channel: number} | null} highlighted
 */
export function highlightedChannel(model, layer, highlighted) {
  if (!highlighted) return null;
  const named = model.layers.findIndex(({ name }) => name === highlighted.layer);
  const isInput = named === INPUT && highlighted.layer === layerName(model, INPUT);
  if (named === INPUT && !isInput) return null;
  return originOf(model.layers, named) === originOf(model.layers, layer) ? highlighted.channel : null;
}
