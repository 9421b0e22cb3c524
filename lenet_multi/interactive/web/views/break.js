/** Mistakes of porting, exercises and damage, planted into a network that is shown, and what they cost. */

import { countCorrect, mostHurtClass } from "../accuracy.js";
import { NO_CHANGES, orderMatters } from "../changes.js";
import { element, newId, text } from "../dom.js";
import { channelSwitches, checkControl, noiseControl, selectControl } from "./break_controls.js";
import { drawWhileVisible, isShown, sideChoice } from "./tool_parts.js";

/**
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../network.js").Model} Model
 * @typedef {import("../changes.js").Changes} Changes
 * @typedef {import("../accuracy.js").Counts} Counts
 */

/** @param {Store} store */
export function breakView(store) {
  const sides = sideChoice(store, draw);
  const change = (/** @type {Partial<Changes>} */ patch) => {
    const name = sides.current();
    const side = store.state[name] ?? store.state.a;
    store.update({ [name]: { ...side, changes: { ...side.changes, ...patch } } });
  };
  const poolings = ["avg", "max"].map((value) => ({ value, label: text(`break.${value}`) }));
  const activations = ["sigmoid", "tanh", "relu"].map((value) => ({ value, label: value }));
  const mistakes = [
    checkControl("channelsLast", ({ layers }) => layers.some(orderMatters), change),
    selectControl("transposed", convolutionChoices(2), change),
    selectControl("shifted", convolutionChoices(1), change),
  ];
  const exercises = [
    selectControl("pooling", (model) => (hasPooling(model) ? poolings : []), change),
    selectControl("activation", (model) => (hasActivation(model) ? activations : []), change),
  ];
  const damage = [channelSwitches(store, change), noiseControl(change)];
  const controls = [...mistakes, ...exercises, ...damage];
  const cost = costOfChanges(store, () => tool);
  const group = (/** @type {string} */ name, /** @type {{box: HTMLElement}[]} */ members) => {
    const title = element("h3", { id: newId() }, text(`break.${name}`));
    return element(
      "div",
      { className: "damages", role: "group", "aria-labelledby": title.id },
      title,
      ...members.map(({ box }) => box),
    );
  };
  const compare = () => {
    const side = store.state[sides.current()] ?? store.state.a;
    sides.choose("a");
    store.update({ a: { ...side }, b: { ...side, changes: NO_CHANGES } });
  };
  const tool = element(
    "section",
    { className: "break", "aria-label": text("break.title") },
    element("h2", {}, text("break.title")),
    element("p", {}, text("break.lead")),
    sides.box,
    cost.box,
    element(
      "p",
      { className: "buttons" },
      element("button", { type: "button", onclick: () => change({ ...NO_CHANGES }) }, text("break.repair")),
      " ",
      element("button", { type: "button", onclick: compare }, text("break.compare")),
    ),
    group("mistakes", mistakes),
    group("exercises", exercises),
    group("damage", damage),
  );

  function draw() {
    const side = store.state[sides.current()] ?? store.state.a;
    const run = store.state.runs[side.run];
    const unbroken = side.epoch === null ? run.model : run.epochs[side.epoch].model;
    for (const control of controls) control.show(unbroken, side.changes);
    cost.show(unbroken, store.modelOf(side));
  }
  drawWhileVisible(store, tool, ["a", "b", "runs"], draw);
  return tool;
}

/** @param {Model} model */
function hasPooling(model) {
  return model.layers.some(({ kind }) => kind === "pool");
}

/** @param {Model} model */
function hasActivation(model) {
  return model.layers.some(({ activation }) => activation !== null);
}

/**
 * The convolutions with a window of at least `least` pixels.
 *
 * @param {number} least
 */
function convolutionChoices(least) {
  return (/** @type {Model} */ model) =>
    model.layers.filter(({ kind, size }) => kind === "conv" && size >= least)
      .map(({ name }) => ({ value: name, label: name }));
}

/**
 * The accuracy before and after, counted in slices.
 *
 * @param {Store} store
 * @param {() => HTMLElement} getTool
 */
function costOfChanges(store, getTool) {
  const { examples, classes } = store.facts;
  const result = element("p", { className: "result", role: "status" });
  const worst = element("p", { className: "quiet" });
  const progress = element("progress", { max: Math.max(1, examples.length), "aria-label": text("break.counting") });
  const box = element("div", { className: "cost" }, result, worst, progress);
  /** @type {Model | null} */
  let wanted = null;

  /**
   * @param {Model} unbroken
   * @param {Model} model
   */
  async function show(unbroken, model) {
    if (!examples.length) {
      result.textContent = text("break.noImages");
      progress.style.visibility = "hidden";
      return;
    }
    if (wanted === model) return;
    wanted = model;
    const isWanted = () => wanted === model && isShown(getTool());
    const count = (/** @type {Model} */ network) =>
      countCorrect(network, examples, classes.length, isWanted, (done) => (progress.value = done));
    box.setAttribute("aria-busy", "true");
    progress.style.visibility = "visible";
    const before = await count(unbroken);
    const after = before && await count(model);
    if (before && after && isWanted()) {
      say(before, after, model !== unbroken);
      box.setAttribute("aria-busy", "false");
      progress.style.visibility = "hidden";
    } else if (wanted === model) {
      wanted = null; // hidden meanwhile: counted when the tool is shown again
    }
  }

  /**
   * @param {Counts} before
   * @param {Counts} after
   * @param {boolean} isBroken
   */
  function say(before, after, isBroken) {
    const numbers = { images: before.images, before: before.correct, after: after.correct };
    result.textContent = text(isBroken ? "break.cost" : "break.unbroken", numbers);
    const label = mostHurtClass(before, after);
    worst.textContent = !isBroken ? "" : label === null ? text("break.noLoss") : text("break.worst", {
      name: classes[label],
      images: before.imagesOf[label],
      before: before.correctOf[label],
      after: after.correctOf[label],
    });
  }
  return { box, show };
}
