/** The loss and the accuracies of a run over its epochs, drawn as lines. */

import { rangeOf } from "../drawing.js";
import { element, number, svgElement, text } from "../dom.js";

/**
 * @typedef {import("../store.js").Point} Point
 *
 * @typedef {object} Line
 * @property {string} name
 * @property {(point: Point) => number | null} value
 *
 * @typedef {object} Panel
 * @property {number} top
 * @property {Line[]} lines
 * @property {number} most value at the top
 * @property {number[]} ticks
 */

const CHART = { width: 360, height: 330, left: 44, right: 348, panel: 118, lossTop: 24, accuracyTop: 176 };
const MOST_DOTS = 200; // for each line
const LEAST_TOP = 1e-30; // of an axis: the steps between smaller numbers would be 0

/** @type {Line[]} */
const LOSS_LINES = [{ name: "loss", value: (point) => point.loss }];
/** @type {Line[]} */
const ACCURACY_LINES = [
  { name: "train", value: (point) => point.trainAccuracy },
  { name: "test", value: (point) => point.testAccuracy },
];

/**
 * @param {Point[]} points at least one
 * @returns {{box: HTMLElement, mark: (epoch: number | null) => void}}
 */
export function curveChart(points) {
  const end = axisEnd(points.map(({ epoch }) => epoch));
  const x = (/** @type {number} */ epoch) => CHART.left + (epoch / end) * (CHART.right - CHART.left);
  const lossTicks = roundTicks(axisEnd(points.map(({ loss }) => loss ?? 0)), 4);
  /** @type {Panel[]} */
  const panels = [
    { top: CHART.lossTop, lines: LOSS_LINES, most: lossTicks[lossTicks.length - 1], ticks: lossTicks },
    { top: CHART.accuracyTop, lines: ACCURACY_LINES, most: 1, ticks: [0, 0.25, 0.5, 0.75, 1] },
  ];
  const marker = svgElement("g", { class: "marker" });
  const svg = svgElement(
    "svg",
    { viewBox: `0 0 ${CHART.width} ${CHART.height}`, role: "img", "aria-label": describeCurves(points) },
    ...panels.map((panel) => curvePanel(panel, points, x)),
    ...roundTicks(end, 6).filter((tick) => tick <= end).map((tick) => {
      return svgElement(
        "text",
        { x: x(tick), y: CHART.accuracyTop + CHART.panel + 15, "text-anchor": "middle" },
        tickName(tick),
      );
    }),
    svgElement(
      "text",
      { x: (CHART.left + CHART.right) / 2, y: CHART.height - 4, "text-anchor": "middle" },
      text("epochs.axis"),
    ),
    marker,
  );

  /** @param {number | null} epoch */
  function mark(epoch) {
    marker.replaceChildren();
    if (epoch === null || epoch > end) return;
    for (const { top } of panels) {
      marker.append(svgElement("line", { x1: x(epoch), x2: x(epoch), y1: top, y2: top + CHART.panel }));
    }
  }
  return { box: element("div", { className: "curves" }, svg), mark };
}

/**
 * @param {Panel} panel
 * @param {Point[]} points
 * @param {(epoch: number) => number} x
 */
function curvePanel({ top, lines, most, ticks }, points, x) {
  const y = (/** @type {number} */ value) => top + CHART.panel - (value / most) * CHART.panel;
  const group = svgElement("g", {});
  for (const tick of ticks) {
    group.append(
      svgElement("line", { class: "grid", x1: CHART.left, x2: CHART.right, y1: y(tick), y2: y(tick) }),
      svgElement(
        "text",
        { x: CHART.left - 5, y: y(tick) + 4, "text-anchor": "end" },
        tickName(tick),
      ),
    );
  }
  lines.forEach(({ name, value }, n) => {
    const known = points.filter((point) => value(point) !== null);
    const places = known.map((point) =>
      [x(point.epoch), y(/** @type {number} */ (value(point)))].map((v) => v.toFixed(2))
    );
    const line = svgElement("g", { class: `curve ${name}` });
    if (places.length) line.append(svgElement("path", { d: `M${places.map((place) => place.join(" ")).join("L")}` }));
    if (places.length <= MOST_DOTS) line.append(...places.map(([cx, cy]) => svgElement("circle", { cx, cy, r: 2 })));
    const start = CHART.left + n * 155;
    line.append(
      svgElement("path", { d: `M${start} ${top - 11}h22` }),
      svgElement("text", { x: start + 27, y: top - 7 }, text(`epochs.${name}`)),
    );
    group.append(line);
  });
  return group;
}

/**
 * The largest of the values; 1 if none of them can be told from 0.
 *
 * @param {number[]} values
 */
function axisEnd(values) {
  const [, most] = rangeOf(values);
  return most > LEAST_TOP ? most : 1;
}

/**
 * Round numbers from 0 to at least a number.
 *
 * @param {number} most
 * @param {number} count about how many
 */
function roundTicks(most, count) {
  const power = 10 ** Math.floor(Math.log10(most / count));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= most / count) ?? 10);
  return Array.from({ length: Math.ceil(most / step - 1e-9) + 1 }, (_, n) => n * step);
}

/** @param {number} tick */
function tickName(tick) {
  return String(Number(tick.toPrecision(3)));
}

/** @param {Point[]} points */
function describeCurves(points) {
  const [first, last] = [points[0], points[points.length - 1]];
  const shown = (/** @type {number | null} */ value) => (value === null ? "?" : number(value));
  return text("epochs.curves", {
    from: number(first.epoch, 1),
    to: number(last.epoch, 1),
    first: shown(first.loss),
    last: shown(last.loss),
  });
}
