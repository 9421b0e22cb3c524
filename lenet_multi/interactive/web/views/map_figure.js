/** A map over the pixels of the input, next to the input, with a legend of its colors. */

import { drawImage, drawMap } from "../drawing.js";
import { element, newId, number, text } from "../dom.js";

/**
 * @typedef {import("../network.js").ImageShape} ImageShape
 * @typedef {import("../drawing.js").Range} Range
 */

const RAMP = Float64Array.from({ length: 256 }, (_, shade) => shade);

export class MapFigure {
  /** @param {string} name of its texts */
  constructor(name) {
    this.name = name;
    const title = element("h3", { id: newId() }, text(name));
    this.picture = element("canvas", { role: "img", "aria-label": text("matters.input") });
    this.map = element("canvas", { role: "img", "aria-label": text(name) });
    const ramp = element("canvas", { className: "ramp", "aria-hidden": "true" });
    drawMap(ramp, RAMP, 0, 1, RAMP.length, [0, RAMP.length - 1]);
    this.low = element("span");
    this.high = element("span");
    this.legend = element("p", { className: "legend caption" }, this.low, ramp, this.high);
    this.meaning = element("p", {});
    this.tools = element("div", { className: "controls" });
    this.box = element(
      "div",
      { className: "figure", role: "group", "aria-labelledby": title.id },
      title,
      this.tools,
      element("div", { className: "pair" }, this.picture, this.map),
      this.legend,
      this.meaning,
      element("p", { className: "quiet" }, text(`${name}.limits`)),
    );
  }

  /**
   * @param {Float64Array} image
   * @param {ImageShape} shape
   */
  showImage(image, shape) {
    drawImage(this.picture, image, shape);
  }

  /**
   * @param {Float64Array} values (height, width)
   * @param {ImageShape} shape
   * @param {Range} range
   * @param {string} meaning what the map says, as a sentence
   */
  showMap(values, [, height, width], range, meaning) {
    drawMap(this.map, values, 0, height, width, range);
    this.low.textContent = number(range[0]);
    this.high.textContent = number(range[1]);
    this.meaning.textContent = meaning;
    this.map.style.visibility = this.legend.style.visibility = "visible";
  }

  /**
   * Show no map.
   *
   * @param {string} meaning why not
   */
  clear(meaning) {
    this.meaning.textContent = meaning;
    this.map.style.visibility = this.legend.style.visibility = "hidden";
  }
}
