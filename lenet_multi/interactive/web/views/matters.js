/** What matters: how much a class needs each part of the image, by covering it, and by the gradient. */

import { inputGradients } from "../backward.js";
import { rangeOf, symmetricRange } from "../drawing.js";
import { element, number, percent, text } from "../dom.js";
import { largestIndex, logitsOf, softmax } from "../forward.js";
import { occlusionMap, probabilityWithout, squares } from "../occlusion.js";
import { inSlices } from "../slices.js";
import { emptyImage } from "../store.js";
import { MapFigure } from "./map_figure.js";
import { drawWhileVisible, isShown, labelled, sideChoice } from "./tool_parts.js";

/**
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../store.js").Pass} Pass
 * @typedef {import("../network.js").ImageShape} ImageShape
 */

const ROUNDING_OF_FALLS = 1e-12; // of float64

/** @param {Store} store */
export function mattersView(store) {
  const { classes, inputShape } = store.facts;
  const sides = sideChoice(store, draw);
  const classNames = classes.map((name, label) => element("option", { value: String(label) }, name));
  const chosenClass = element(
    "select",
    { onchange: draw },
    element("option", { value: "" }, text("matters.predicted")),
    ...classNames,
  );
  const question = () => {
    const pass = store.passes[sides.current()] ?? store.passes.a;
    const probabilities = softmax(pass.steps[pass.steps.length - 1].output);
    const label = chosenClass.value === "" ? largestIndex(probabilities) : Number(chosenClass.value);
    return { pass, image: store.state.image, label, probability: probabilities[label] };
  };
  const cover = coverFigure(store, question, () => tool);
  const gradient = new MapFigure("matters.gradient");
  const subject = element("p", { className: "subject" });
  const tool = element(
    "section",
    { className: "matters", "aria-label": text("matters.title") },
    element("h2", {}, text("matters.title")),
    sides.box,
    element("p", {}, ...labelled(text("matters.class"), chosenClass)),
    subject,
    cover.box,
    gradient.box,
  );

  function draw() {
    const { pass, image, label, probability } = question();
    subject.textContent = text("matters.subject", { name: classes[label], percent: percent(probability) });
    cover.show();
    gradient.showImage(image, inputShape);
    const values = sizePerPixel(inputGradients(pass.model, pass.steps, label)[0], inputShape);
    const isSigned = inputShape[0] === 1;
    const range = isSigned ? symmetricRange(values) : rangeOf([0], values);
    const meaning = text(isSigned ? "matters.gradient.signed" : "matters.gradient.size", { name: classes[label] });
    gradient.showMap(values, inputShape, range, meaning);
  }
  drawWhileVisible(store, tool, ["a", "b", "image", "runs"], draw);
  return tool;
}

/**
 * The gradient of each pixel: signed for one channel, else its length over the channels.
 *
 * @param {Float64Array} gradient
 * @param {ImageShape} shape
 */
function sizePerPixel(gradient, [channels, height, width]) {
  if (channels === 1) return gradient;
  const squared = new Float64Array(height * width);
  gradient.forEach((value, i) => (squared[i % (height * width)] += value * value));
  return squared.map(Math.sqrt);
}

/**
 * Sides of a square to cover the image with.
 *
 * @param {ImageShape} shape
 */
function coverSides([, height, width]) {
  const sides = [0.1, 0.18, 0.25, 0.36].map((part) => Math.max(1, Math.round(part * Math.min(height, width))));
  return [...new Set(sides)];
}

/**
 * The map of a square that covers one part after the other, computed when a button is pressed.
 *
 * @param {Store} store
 * @param {() => {pass: Pass, image: Float64Array, label: number, probability: number}} question
 * @param {() => HTMLElement} getTool
 */
function coverFigure(store, question, getTool) {
  const { classes, inputShape } = store.facts;
  const figure = new MapFigure("matters.cover");
  const result = element("p", { className: "result", role: "status" });
  const sizes = coverSides(inputShape);
  const size = element(
    "select",
    { onchange: () => show() },
    ...sizes.map((side) => element("option", { value: String(side) }, text("matters.pixels", { side }))),
  );
  size.value = String(sizes[Math.min(1, sizes.length - 1)]);
  const button = element("button", { type: "button", onclick: compute }, text("matters.compute"));
  const progress = element("progress", { "aria-label": text("matters.progress") });
  progress.style.visibility = "hidden";
  figure.tools.append(...labelled(text("matters.square"), size), " ", button, progress);
  figure.meaning.after(result);
  /** @type {object | null} the work that goes on */
  let current = null;
  /** @type {unknown[]} what the map, or the work for it, belongs to */
  let asked = [];

  const ask = () => {
    const { pass, image, label } = question();
    return [pass.model, image, label, size.value];
  };

  /** Show the image, and no map that belongs to another one. */
  function show() {
    const { image } = question();
    figure.showImage(image, inputShape);
    if (asked.length && ask().every((value, i) => value === asked[i])) return;
    end();
    asked = [];
    result.textContent = "";
    figure.clear(text("matters.cover.ask"));
  }

  function end() {
    current = null;
    figure.box.setAttribute("aria-busy", "false");
    progress.style.visibility = "hidden";
  }

  async function compute() {
    const work = current = {};
    asked = ask();
    const { pass: { model }, image, label } = question();
    const side = Number(size.value);
    const ground = emptyImage(store.facts)[0];
    const all = squares(model, side);
    const whole = softmax(logitsOf(model, image))[label];
    const falls = new Array(all.length).fill(0);
    figure.box.setAttribute("aria-busy", "true");
    progress.max = all.length;
    progress.style.visibility = "visible";
    const isDone = await inSlices(
      all.length,
      (n) => (falls[n] = whole - probabilityWithout(model, image, label, all[n], side, ground)),
      () => current === work && isShown(getTool()),
      (done) => (progress.value = done),
    );
    if (current !== work) return; // another question was asked meanwhile
    end();
    if (!isDone) {
      asked = []; // hidden meanwhile
      return;
    }
    const map = occlusionMap(model, all, side, falls);
    figure.showMap(map, inputShape, rangeOf([0], map), text("matters.cover.meaning", { name: classes[label], side }));
    const worst = largestIndex(Float64Array.from(falls));
    if (falls[worst] <= ROUNDING_OF_FALLS) {
      result.textContent = text("matters.cover.none", { name: classes[label], whole: number(whole) });
      return;
    }
    result.textContent = text("matters.cover.worst", {
      name: classes[label],
      whole: number(whole),
      covered: number(whole - falls[worst]),
      top: all[worst].top + 1,
      bottom: Math.min(inputShape[1], all[worst].top + side),
      left: all[worst].left + 1,
      right: Math.min(inputShape[2], all[worst].left + side),
    });
  }
  return { box: figure.box, show };
}
