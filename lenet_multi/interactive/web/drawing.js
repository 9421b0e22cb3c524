/** Numbers as colors on canvases. The color map differs in lightness too, so that it works without color vision. */

/** @type {Uint8Array} red, green and blue of 256 colors, from dark to light */
let colors = new Uint8Array(768);

/** @param {Uint8Array} given */
export function setColors(given) {
  colors = given;
}

/**
 * @typedef {[number, number]} Range of the values from the darkest to the lightest color
 */

/**
 * @param {...ArrayLike<number>} arrays
 * @returns {Range}
 */
export function rangeOf(...arrays) {
  let [low, high] = [Infinity, -Infinity];
  for (const values of arrays) {
    for (let i = 0; i < values.length; i++) {
      if (values[i] < low) low = values[i];
      if (values[i] > high) high = values[i];
    }
  }
  return low <= high ? [low, high] : [0, 0];
}

/**
 * A range with zero in its middle, for numbers whose sign matters.
 *
 * @param {...ArrayLike<number>} arrays
 * @returns {Range}
 */
export function symmetricRange(...arrays) {
  const [low, high] = rangeOf(...arrays);
  const most = Math.max(-low, high);
  return [-most, most];
}

/**
 * Draw numbers, one pixel for each; the style sheet enlarges the canvas. NaN is left open.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {ArrayLike<number>} values row by row
 * @param {number} start index of the first
 * @param {number} height
 * @param {number} width
 * @param {Range} range
 */
export function drawMap(canvas, values, start, height, width, [low, high]) {
  const { context, pixels } = pixelsOf(canvas, height, width);
  const scale = high > low ? 255 / (high - low) : 0;
  for (let i = 0; i < height * width; i++) {
    const shade = scale ? Math.round((values[start + i] - low) * scale) : 127;
    const color = 3 * Math.max(0, Math.min(255, shade));
    pixels.data[4 * i] = colors[color];
    pixels.data[4 * i + 1] = colors[color + 1];
    pixels.data[4 * i + 2] = colors[color + 2];
    pixels.data[4 * i + 3] = Number.isNaN(values[start + i]) ? 0 : 255;
  }
  context.putImageData(pixels, 0, 0);
}

/**
 * Draw maps one after the other, a pixel apart, in rows.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {ArrayLike<number>} values all maps, row by row
 * @param {number} start index of the first value
 * @param {Tiles} tiles
 * @param {Range} range
 */
export function drawTiles(canvas, values, start, tiles, range) {
  const { count, columns, height, width } = tiles;
  const size = tilesSize(tiles);
  const laidOut = new Float64Array(size.height * size.width).fill(NaN);
  for (let n = 0; n < count; n++) {
    const corner = Math.floor(n / columns) * (height + 1) * size.width + (n % columns) * (width + 1);
    for (let i = 0; i < height * width; i++) {
      const place = corner + Math.floor(i / width) * size.width + (i % width);
      laidOut[place] = values[start + n * height * width + i];
    }
  }
  drawMap(canvas, laidOut, 0, size.height, size.width, range);
}

/**
 * @typedef {object} Tiles maps of one size in rows
 * @property {number} count
 * @property {number} columns maps in one row
 * @property {number} height
 * @property {number} width
 */

/**
 * Height and width of a picture of tiles.
 *
 * @param {Tiles} tiles
 */
export function tilesSize({ count, columns, height, width }) {
  return { height: Math.ceil(count / columns) * (height + 1) - 1, width: Math.min(columns, count) * (width + 1) - 1 };
}

/**
 * The color of a number, and black or white, whichever is easier to read on it.
 *
 * @param {number} value
 * @param {Range} range
 */
export function colorsOf(value, [low, high]) {
  const shade = high > low ? Math.max(0, Math.min(255, Math.round(((value - low) / (high - low)) * 255))) : 127;
  const [red, green, blue] = colors.subarray(3 * shade, 3 * shade + 3);
  const [r, g, b] = [red, green, blue].map((part) => ((part / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return { ground: `rgb(${red} ${green} ${blue})`, text: luminance > 0.179 ? "#000" : "#fff" };
}

/**
 * Draw an image in its own colors: grey, or red, green and blue.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {Float64Array} image (channels, height, width), from 0 to 1; of other channel counts the first is drawn
 * @param {[number, number, number]} shape
 */
export function drawImage(canvas, image, [channels, height, width]) {
  const { context, pixels } = pixelsOf(canvas, height, width);
  const area = height * width;
  for (let i = 0; i < area; i++) {
    for (let k = 0; k < 3; k++) pixels.data[4 * i + k] = Math.round(255 * image[(channels === 3 ? k * area : 0) + i]);
    pixels.data[4 * i + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
}

/** @type {WeakMap<HTMLCanvasElement, {context: CanvasRenderingContext2D, pixels: ImageData}>} */
const kept = new WeakMap();

/**
 * @param {HTMLCanvasElement} canvas
 * @param {number} height
 * @param {number} width
 */
function pixelsOf(canvas, height, width) {
  const known = kept.get(canvas);
  if (known?.pixels.width === width && known.pixels.height === height) return known;
  canvas.width = width;
  canvas.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const made = { context, pixels: context.createImageData(width, height) };
  kept.set(canvas, made);
  return made;
}
