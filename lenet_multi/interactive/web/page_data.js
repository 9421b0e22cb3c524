/** The runs and images in the page's data, as the other modules use them. */

import { modelOf, readDescription, sizeOf, splitParameters } from "./network.js";
import { thinned } from "./points.js";
import { factsOfRun, frameworkOf, isWithin, MOST_EPOCHS } from "./run_facts.js";
import { readCheckpoint } from "./safetensors.js";

/**
 * @typedef {import("./store.js").Facts} Facts
 * @typedef {import("./store.js").Run} Run
 * @typedef {import("./store.js").Point} Point
 */

const MOST_LOSS = 1e30; // a file can claim any

/**
 * @param {any} data the page's own
 * @returns {{facts: Facts, runs: Run[]}}
 */
export function readPageData(data) {
  const runs = data.runs.map((/** @type {any} */ run) => {
    const described = readDescription(run.description);
    const model = (/** @type {string} */ encoded) =>
      modelOf(described, splitParameters(described.layers, floats(encoded)));
    return {
      title: run.title,
      facts: run.facts,
      model: model(run.parameters),
      epochs: run.epochs.map((/** @type {any} */ each) => ({ epoch: each.epoch, model: model(each.parameters) })),
      points: run.points.map(readPoint),
      testAccuracy: run.testAccuracy,
    };
  });
  const { inputShape } = runs[0].model;
  const pixels = bytes(data.images.pixels);
  const size = sizeOf(inputShape);
  const examples = data.images.labels.map((/** @type {number} */ label, /** @type {number} */ n) => ({
    image: Float64Array.from(pixels.subarray(n * size, (n + 1) * size), (value) => value / 255),
    label,
    index: data.images.indices[n],
  }));
  const facts = {
    inputShape,
    classes: data.classes,
    lightOnBlack: data.lightOnBlack,
    examples,
    dataset: data.images.dataset,
  };
  return { facts, runs };
}

/**
 * @param {any[]} values
 * @returns {Point}
 */
function readPoint([epoch, loss, trainAccuracy, testAccuracy]) {
  return { epoch, loss, trainAccuracy, testAccuracy };
}

/**
 * A run from a file that a user gives to the page.
 *
 * @param {string} name of the file
 * @param {ArrayBuffer} content
 * @returns {Run & {classes: string[]}} classes are empty if the file does not name them
 */
export function readRunFile(name, content) {
  const { run, parameters, ...described } = readCheckpoint(content);
  /** @type {any[]} */
  const points = Array.isArray(run?.points) ? run.points : [];
  const names = Array.isArray(run?.class_names) ? run.class_names : [];
  const framework = frameworkOf(run?.backend);
  const title = framework ? `${framework}: ${name}` : name;
  return {
    title,
    facts: factsOfRun(run),
    model: modelOf(described, parameters),
    epochs: [],
    points: thinned(
      points.filter((point) => isWithin(point?.epoch, 0, MOST_EPOCHS)).map((point) => ({
        epoch: point.epoch,
        loss: isWithin(point.train_loss, 0, MOST_LOSS) ? point.train_loss : null,
        trainAccuracy: isWithin(point.train_acc, 0, 1) ? point.train_acc : null,
        testAccuracy: isWithin(point.test_acc, 0, 1) ? point.test_acc : null,
      })),
    ),
    testAccuracy: isWithin(points.at(-1)?.test_acc, 0, 1) ? points.at(-1).test_acc : null,
    classes: names.every((/** @type {unknown} */ each) => typeof each === "string") ? names : [],
  };
}

/** @param {string} encoded */
export function bytes(encoded) {
  return Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
}

/** @param {string} encoded little-endian float32 */
function floats(encoded) {
  const content = bytes(encoded);
  const view = new DataView(content.buffer);
  return Float32Array.from({ length: content.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}
