/** What the page shows, and the passes of the networks for it: computed once for each change, before the views draw. */

import { changed, NO_CHANGES } from "./changes.js";
import { forward } from "./forward.js";

/**
 * @typedef {import("./network.js").ImageShape} ImageShape
 * @typedef {import("./network.js").Model} Model
 * @typedef {import("./forward.js").Step} Step
 * @typedef {import("./changes.js").Changes} Changes
 * @typedef {import("./trace.js").Place} Place
 *
 * @typedef {object} Point of a loss curve; null where nothing was measured
 * @property {number} epoch
 * @property {number | null} loss
 * @property {number | null} trainAccuracy
 * @property {number | null} testAccuracy
 *
 * @typedef {object} Run
 * @property {string} title
 * @property {string} facts
 * @property {Model} model
 * @property {{epoch: number, model: Model}[]} epochs empty if the run did not keep them
 * @property {Point[]} points
 * @property {number | null} testAccuracy
 *
 * @typedef {object} Example a test image that travels along
 * @property {Float64Array} image
 * @property {number} label
 * @property {number} index in the test set
 *
 * @typedef {"a" | "b"} SideName
 *
 * @typedef {object} Side
 * @property {number} run
 * @property {number | null} epoch place in the run's epochs; null for the run's own parameters
 * @property {Changes} changes
 *
 * @typedef {object} State
 * @property {Run[]} runs
 * @property {Side} a
 * @property {Side | null} b null if one network is shown
 * @property {Float64Array} image (channels, height, width), from 0 to 1; replaced, never changed in place
 * @property {number | null} label of the image, if it is known
 * @property {(Place & {side: SideName, isDifference?: boolean}) | null} place the number whose origin is shown; in the
 *   difference A − B it is the one of A
 * @property {{layer: string, channel: number} | null} highlighted
 *
 * @typedef {object} Facts what does not change
 * @property {ImageShape} inputShape
 * @property {string[]} classes
 * @property {boolean} lightOnBlack
 * @property {Example[]} examples
 * @property {string} dataset
 *
 * @typedef {{model: Model, steps: Step[]}} Pass
 * @typedef {(changed: Set<keyof State>) => void} View
 */

export class Store {
  /**
   * @param {Facts} facts
   * @param {Run[]} runs at least one
   */
  constructor(facts, runs) {
    this.facts = facts;
    /** @type {State} */
    this.state = {
      runs,
      a: { run: 0, epoch: null, changes: NO_CHANGES },
      b: null,
      image: facts.examples[0]?.image ?? emptyImage(facts),
      label: facts.examples[0]?.label ?? null,
      place: null,
      highlighted: null,
    };
    /** @type {{a: Pass, b: Pass | null}} */
    this.passes = { a: this.#pass(this.state.a), b: null };
    /** @type {View[]} */
    this.views = [];
    /** @type {Set<keyof State>} */
    this.changed = new Set();
    /** @type {number | null} time of the first event that is not drawn yet */
    this.since = null;
  }

  /**
   * Change the state; the views draw when the current event is handled.
   *
   * @param {Partial<State>} patch
   */
  update(patch) {
    for (const key of /** @type {(keyof State)[]} */ (Object.keys(patch))) {
      if (this.state[key] !== patch[key]) this.changed.add(key);
    }
    if (!this.changed.size) return;
    Object.assign(this.state, patch);
    if (this.since !== null) return;
    this.since = performance.now();
    queueMicrotask(() => this.draw()); // not the next frame: the browser sends a pointer's moves once for each frame
  }

  /** Compute what has changed, and let every view draw it. An error is reported, and the next change is drawn again. */
  draw() {
    const changed = this.changed;
    this.changed = new Set();
    const { a, b, image } = this.state;
    try {
      if (changed.has("a") || changed.has("image") || changed.has("runs")) this.passes.a = this.#pass(a, image);
      if (changed.has("b") || changed.has("image") || changed.has("runs")) this.passes.b = b && this.#pass(b, image);
      for (const view of this.views) orReport(() => view(changed));
    } finally {
      if (this.since !== null) measureReaction(this.since);
      this.since = null;
    }
  }

  /**
   * The network of a side, with its changes.
   *
   * @param {Side} side
   */
  modelOf(side) {
    const run = this.state.runs[side.run];
    const model = side.epoch === null ? run.model : run.epochs[side.epoch].model;
    return changed(model, side.changes);
  }

  /**
   * @param {Side} side
   * @param {Float64Array} image
   * @returns {Pass}
   */
  #pass(side, image = this.state.image) {
    const model = this.modelOf(side);
    return { model, steps: forward(model, image) };
  }
}

/**
 * Do something whose failure must not keep the rest from being done: the browser reports an error that nothing caught.
 *
 * @param {() => void} work
 */
function orReport(work) {
  try {
    work();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** @param {number} start */
function measureReaction(start) {
  performance.clearMeasures("reaction"); // the browser would keep all of them; an observer has been given them
  performance.measure("reaction", { start, end: performance.now() });
}

/** @param {Facts} facts */
export function emptyImage(facts) {
  const [channels, height, width] = facts.inputShape;
  return new Float64Array(channels * height * width).fill(facts.lightOnBlack ? 0 : 1);
}
