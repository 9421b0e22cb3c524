/** A map over the pixels of the input, next to the input, with a legend of its colors. */

import { drawImage, drawMap } from "../drawing.js";
import { element, newId, text } from "../dom.js";
import { scaleLegend } from "./scale_legend.js";

/**
 * @typedef {import("../network.js").ImageShape} ImageShape
 * @typedef {import("../drawing.js").Range} Range
 */

export class MapFigure {
  /** @param {string} name of its texts */
  constructor(name) {
    const title = element("h3", { id: newId() }, text(name));
    this.picture = element("canvas", { role: "img", "aria-label": text("matters.input") });
    this.map = element("canvas", { role: "img", "aria-label": text(name) });
    this.legend = scaleLegend();
    this.meaning = element("p", {});
    this.tools = element("div", { className: "controls" });
    this.box = element(
      "div",
      { className: "figure", role: "group", "aria-labelledby": title.id },
      title,
      this.tools,
      element("div", { className: "pair" }, this.picture, this.map),
      this.legend.element,
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
    this.legend.draw(range);
    this.meaning.textContent = meaning;
    this.map.style.visibility = this.legend.element.style.visibility = "visible";
  }

  /**
   * Show no map.
   *
   * @param {string} meaning why not
   */
  clear(meaning) {
    this.meaning.textContent = meaning;
    this.map.style.visibility = this.legend.element.style.visibility = "hidden";
  }
}
