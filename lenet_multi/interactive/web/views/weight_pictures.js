/** The weights of one output channel or unit as a picture: a map for each input channel, or a strip of numbers. */

import { drawMap, drawTiles, tilesSize } from "../drawing.js";
import { element } from "../dom.js";
import { drawOutlines, gridOf } from "./maps.js";

/**
 * @typedef {import("../network.js").Layer} Layer
 * @typedef {import("../network.js").Model} Model
 * @typedef {import("../drawing.js").Range} Range
 * @typedef {import("../drawing.js").Tiles} Tiles
 */

const MOST_TILE_PIXELS = 48; // of a picture from left to right, if it has several maps

/**
 * How the weights of one channel or unit are laid out.
 *
 * @param {Model} model
 * @param {number} index of the layer
 * @returns {{tiles: Tiles, areMaps: boolean, inputLayer: number}} whether the weights are maps, one for each channel of
 *   an earlier layer, and which layer that is
 */
export function weightLayout(model, index) {
  const layer = model.layers[index];
  const flatten = model.layers[index - 1];
  const areMaps = layer.kind === "conv" || flatten.kind === "flatten";
  if (!areMaps) {
    const { height, width } = gridOf(layer.inputShape);
    return { tiles: { count: 1, columns: 1, height, width }, areMaps, inputLayer: index - 1 };
  }
  const isConvolution = layer.kind === "conv";
  const [count, mapHeight, mapWidth] = isConvolution ? layer.inputShape : flatten.inputShape;
  const [height, width] = isConvolution ? [layer.size, layer.size] : [mapHeight, mapWidth];
  const columns = Math.max(1, Math.min(count, Math.floor(MOST_TILE_PIXELS / (width + 1))));
  return { tiles: { count, columns, height, width }, areMaps, inputLayer: isConvolution ? index - 1 : index - 2 };
}

export class WeightPicture {
  /** @param {Tiles} tiles */
  constructor(tiles) {
    const { height, width } = tilesSize(tiles);
    this.tiles = tiles;
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.element = element("span", { className: "map weights" }, this.canvas);
    this.element.style.aspectRatio = `${width} / ${height}`;
    this.element.style.width = `${width * 0.5}rem`;
  }

  /**
   * @param {Float32Array} weights of this channel or unit
   * @param {Range} range
   */
  draw(weights, range) {
    const { count, height, width } = this.tiles;
    if (weights.length === count * height * width) {
      return drawTiles(this.canvas, weights, 0, this.tiles, range);
    }
    const padded = new Float32Array(height * width).fill(NaN);
    padded.set(weights);
    drawMap(this.canvas, padded, 0, height, width, range);
  }

  /** @param {number | null} input the input channel whose map is outlined */
  mark(input) {
    const { columns, height, width } = this.tiles;
    const kind = /** @type {"window"} */ ("window");
    const outline = (/** @type {number} */ n) => ({
      top: Math.floor(n / columns) * (height + 1),
      left: (n % columns) * (width + 1),
      height,
      width,
      kind,
    });
    drawOutlines(this.element, tilesSize(this.tiles), input === null ? [] : [outline(input)]);
  }
}
