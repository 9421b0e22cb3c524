/** How a run was trained, from the metadata of its file, which can hold anything. `facts` in Python says the same. */

import { text } from "./dom.js";
import { shortName } from "./short_name.js";

export const MOST_EPOCHS = 10_000; // as in Python
const LONGEST_FACTS = 300; // characters
const LARGEST = 2 ** 32;
const LOOPS = ["plain", "fast"];
const frameworks = new Map();

/** @param {Record<string, string>} given the name of each framework, as readers see it, by the name of its backend */
export function setFrameworks(given) {
  for (const [backend, framework] of Object.entries(given)) frameworks.set(backend, framework);
}

/**
 * @param {any} backend
 * @returns {string | undefined} the name of its framework, if it is one that the page knows
 */
export function frameworkOf(backend) {
  return frameworks.get(backend);
}

/**
 * @param {any} run the metadata
 * @returns {string} empty if they do not tell
 */
export function factsOfRun(run) {
  const settings = run?.settings ?? {};
  /** @type {any[]} */
  const segments = Array.isArray(run?.segments) ? run.segments : [];
  const parts = [
    ...frameworksOf(run, segments),
    epochsOf(settings, segments),
    isNatural(settings.batch_size, LARGEST) ? text("facts.batch", { size: settings.batch_size }) : "",
    learningRateOf(settings),
    ...loopsOf(run, segments),
  ];
  return shortName(parts.filter(Boolean).join(", "), LONGEST_FACTS);
}

/**
 * @param {any} run
 * @param {any[]} segments
 */
function frameworksOf(run, segments) {
  const names = segments.flatMap((segment) => {
    const [name, version] = [frameworkOf(segment?.backend), segment?.framework_version];
    return name ? [typeof version === "string" ? text("facts.framework", { name, version }) : name] : [];
  });
  const all = segments.length ? names : [frameworkOf(run?.backend) ?? ""];
  return new Set(all.map((name) => shortName(name)));
}

/**
 * @param {any} settings
 * @param {any[]} segments
 */
function epochsOf(settings, segments) {
  const count = segments.length ? segments[segments.length - 1]?.epochs_done : 0;
  if (typeof settings.dataset !== "string" || !isNatural(count, MOST_EPOCHS)) return "";
  const dataset = shortName(settings.dataset.split(/[/\\]/).filter(Boolean).pop() ?? "");
  return text(count === 1 ? "facts.epoch" : "facts.epochs", { count, dataset });
}

/** @param {any} settings */
function learningRateOf(settings) {
  if (!isWithin(settings.lr, Number.MIN_VALUE, LARGEST)) return "";
  const epochs = settings.lr_decay_epoch ?? settings.lr_drop; // its name in older files
  const isDecaying = isNatural(epochs, MOST_EPOCHS) && epochs > 0;
  return text(isDecaying ? "facts.decay" : "facts.lr", { lr: Number(settings.lr.toPrecision(6)), epochs });
}

/**
 * @param {any} run
 * @param {any[]} segments
 */
function loopsOf(run, segments) {
  const loops = new Set(segments.length ? segments.map((segment) => segment?.loop) : [run?.loop]);
  return [...loops].filter((loop) => LOOPS.includes(loop)).map((loop) => text(`facts.${loop}`));
}

/**
 * @param {unknown} value
 * @param {number} most
 */
function isNatural(value, most) {
  return Number.isSafeInteger(value) && isWithin(value, 0, most);
}

/**
 * @param {unknown} value
 * @param {number} least
 * @param {number} most
 */
export function isWithin(value, least, most) {
  return typeof value === "number" && value >= least && value <= most;
}
