/** Watch it learn: the networks after each epoch, the loss and the accuracies, and the kernels of the first convolution. */

import { drawMap, symmetricRange } from "../drawing.js";
import { element, newId, number, percent, text } from "../dom.js";
import { parameter } from "../network.js";
import { pointAt } from "../points.js";
import { curveChart } from "./curves.js";
import { drawWhileVisible, isShown, labelled, sideChoice } from "./tool_parts.js";

/**
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../store.js").Run} Run
 * @typedef {import("../store.js").Side} Side
 * @typedef {import("../network.js").Model} Model
 */

const PLAYED_EPOCH = 800; // milliseconds for each epoch that is played
const MOST_KERNEL_ROWS = 12; // of kernels
const MOST_KERNELS = 64;

const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

/** @param {Store} store */
export function epochsView(store) {
  const sides = sideChoice(store, () => {
    stop();
    draw();
  });
  const slider = element("input", { type: "range", min: "0", step: "1", oninput: choose });
  const playing = element("button", { type: "button", onclick: togglePlaying }, text("epochs.play"));
  const before = element("button", { type: "button", onclick: showBefore }, text("epochs.before"));
  const sentence = element("p", { className: "now" });
  const controls = element(
    "div",
    {},
    element("p", {}, ...labelled(text("epochs.slider"), slider)),
    element("p", { className: "buttons" }, playing, " ", before),
  );
  const none = element(
    "p",
    {},
    `${text("epochs.none")} `,
    element("code", {}, "python -m lenet_multi.train --keep-epochs --out runs/first"),
  );
  const pictures = element("div");
  const tool = element(
    "section",
    { className: "epochs", "aria-label": text("epochs.title") },
    element("h2", {}, text("epochs.title")),
    sides.box,
    none,
    controls,
    sentence,
    pictures,
  );
  /** @type {ReturnType<typeof setTimeout> | null} */
  let timer = null;
  /** @type {Run | null} */
  let shown = null;
  /** @type {((epoch: number | null) => void)[]} */
  let marks = [];

  const sideShown = () => store.state[sides.current()] ?? store.state.a;
  const runShown = () => store.state.runs[sideShown().run];

  /** @param {number} place */
  function moveTo(place) {
    store.update({ [sides.current()]: { ...sideShown(), epoch: place } });
  }

  function choose() {
    stop();
    moveTo(Number(slider.value));
  }

  function showBefore() {
    const side = sideShown();
    sides.choose("a");
    store.update({ a: { ...side }, b: { ...side, epoch: 0 } }); // the place of the first one
  }

  function togglePlaying() {
    if (timer !== null) return stop();
    const last = runShown().epochs.length - 1;
    if (placeShown() === last) moveTo(0);
    playing.textContent = text("epochs.pause");
    timer = setTimeout(step, PLAYED_EPOCH);
  }

  function step() {
    const next = placeShown() + 1;
    if (!isShown(tool) || next >= runShown().epochs.length) return stop();
    moveTo(next);
    timer = setTimeout(step, PLAYED_EPOCH);
  }

  function stop() {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    playing.textContent = text("epochs.play");
  }

  /** The place of the epoch shown: the last one for the run's own parameters. */
  function placeShown() {
    return sideShown().epoch ?? runShown().epochs.length - 1;
  }

  function build() {
    const run = runShown();
    stop();
    const chart = run.points.length ? curveChart(run.points) : null;
    const kernels = run.epochs.length ? kernelRows(run) : null;
    marks = [chart, kernels].flatMap((part) => (part ? [part.mark] : []));
    pictures.replaceChildren(...[chart, kernels].flatMap((part) => (part ? [part.box] : [])));
    none.hidden = run.epochs.length > 0;
    controls.hidden = !run.epochs.length;
    before.hidden = run.epochs[0]?.epoch !== 0; // a resumed run may have kept later epochs only
    slider.max = String(Math.max(0, run.epochs.length - 1));
    shown = run;
  }

  function draw() {
    const run = runShown();
    if (run !== shown) build();
    const place = placeShown();
    const epoch = run.epochs.length ? run.epochs[place].epoch : null;
    for (const mark of marks) mark(epoch);
    sentence.textContent = epoch === null ? "" : describeEpoch(run, epoch);
    slider.value = String(place);
    slider.setAttribute("aria-valuetext", sentence.textContent);
    before.disabled = place === 0;
  }
  // Whoever wants no motion steps through the epochs with the slider.
  const offerPlaying = () => {
    playing.hidden = reducedMotion.matches;
    if (playing.hidden) stop();
  };
  reducedMotion.addEventListener("change", offerPlaying);
  offerPlaying();
  drawWhileVisible(store, tool, ["a", "b", "runs"], draw);
  return tool;
}

/**
 * @param {Run} run
 * @param {number} epoch
 */
function describeEpoch(run, epoch) {
  const when = epoch === 0 ? text("epochs.untrained") : text("epochs.after", { epoch });
  const { loss, trainAccuracy, testAccuracy } = pointAt(run.points, epoch);
  const parts = [
    loss === null ? null : text("epochs.sayLoss", { loss: number(loss) }),
    trainAccuracy === null ? null : text("epochs.sayTrain", { percent: percent(trainAccuracy) }),
    testAccuracy === null ? null : text("epochs.sayTest", { percent: percent(testAccuracy) }),
  ].filter((part) => part !== null);
  return `${when}: ${parts.join(", ") || text("epochs.sayNothing")}.`;
}

/**
 * The kernels of the first convolution, a row for each epoch.
 *
 * @param {Run} run with epochs
 */
function kernelRows(run) {
  const layer = run.model.layers.find(({ kind }) => kind === "conv");
  if (!layer) return null;
  const weightOf = (/** @type {Model} */ model) => parameter(model, `${layer.name}.weight`);
  const every = Math.ceil(run.epochs.length / MOST_KERNEL_ROWS);
  const last = run.epochs.length - 1;
  const chosen = run.epochs.filter((_, n) => (last - n) % every === 0 || n === 0);
  const range = symmetricRange(...run.epochs.map(({ model }) => weightOf(model)));
  const count = Math.min(layer.outputShape[0], MOST_KERNELS);
  const [height, width] = [layer.inputShape[0] * layer.size, layer.size];
  const rows = chosen.map(({ epoch, model }) => {
    const kernels = Array.from({ length: count }, (_, channel) => {
      const canvas = element("canvas", {});
      drawMap(canvas, weightOf(model), channel * height * width, height, width, range);
      return canvas;
    });
    const name = text("epochs.kernels", { layer: layer.name, epoch });
    const strip = element("div", { className: "kernels", role: "img", "aria-label": name }, ...kernels);
    return { epoch, row: element("li", {}, element("span", { className: "epoch" }, String(epoch)), strip) };
  });
  const title = element("h3", { id: newId() }, text("epochs.kernelsTitle", { layer: layer.name }));
  const box = element(
    "div",
    {},
    title,
    element(
      "p",
      { className: "caption" },
      text("epochs.kernelsRange", { low: number(range[0]), high: number(range[1]) }),
    ),
    element("ol", { className: "kernel-rows", "aria-labelledby": title.id }, ...rows.map(({ row }) => row)),
  );

  /** @param {number | null} epoch */
  function mark(epoch) {
    const before = rows.filter((each) => epoch !== null && each.epoch <= epoch).pop();
    for (const each of rows) {
      if (each === before) each.row.setAttribute("aria-current", "true");
      else each.row.removeAttribute("aria-current");
    }
  }
  return { box, mark };
}
