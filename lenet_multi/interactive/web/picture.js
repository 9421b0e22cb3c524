/** A picture as the input of a network, by the steps of `lenet_multi.predict`, with Pillow's arithmetic. */

/**
 * @typedef {import("./network.js").ImageShape} ImageShape
 *
 * @typedef {object} Raster bytes (height, width, channels), with 1 or 3 channels
 * @property {Uint8ClampedArray} pixels
 * @property {number} channels
 * @property {number} height
 * @property {number} width
 *
 * @typedef {{data: Uint8ClampedArray, width: number, height: number}} Pixels red, green, blue, alpha
 *
 * @typedef {object} PictureStep
 * @property {"white" | "grey" | "resize" | "invert"} name
 * @property {Raster} result
 */

const BRIGHT = 127; // the mean of a border above which a picture is dark on a bright background
const LOBES = 3; // of the Lanczos filter
const PRECISION = 22; // bits of its integer weights in Pillow

/**
 * The steps that turn a picture into a network's input; those that change nothing are left out.
 *
 * @param {Pixels} image
 * @param {ImageShape} shape of the network's input
 * @param {boolean} lightOnBlack whether a picture with a bright border is inverted
 * @returns {{steps: PictureStep[], input: Raster}}
 */
export function prepare(image, shape, lightOnBlack) {
  const [channels, height, width] = shape;
  /** @type {PictureStep[]} */
  const steps = [];
  const { isTransparent, onTop } = onWhite(image);
  let raster = onTop;
  if (isTransparent) steps.push({ name: "white", result: raster });
  if (channels === 1) {
    const { isColor, result } = grey(raster);
    raster = result;
    if (isColor) steps.push({ name: "grey", result: raster });
  }
  if (raster.height !== height || raster.width !== width) {
    raster = resize(raster, height, width);
    steps.push({ name: "resize", result: raster });
  }
  if (lightOnBlack && borderMean(raster) > BRIGHT) {
    raster = { ...raster, pixels: raster.pixels.map((value) => 255 - value) };
    steps.push({ name: "invert", result: raster });
  }
  return { steps, input: raster };
}

/**
 * As Pillow's `alpha_composite` on opaque white, with 7 more bits for the weights.
 *
 * @param {Pixels} image
 */
function onWhite({ data, width, height }) {
  const pixels = new Uint8ClampedArray(width * height * 3);
  let isTransparent = false;
  for (let at = 0, to = 0; at < data.length; at += 4, to += 3) {
    const alpha = data[at + 3];
    if (alpha === 255) {
      for (let k = 0; k < 3; k++) pixels[to + k] = data[at + k];
      continue;
    }
    isTransparent = true;
    for (let k = 0; k < 3; k++) {
      const sum = (data[at + k] * alpha + 255 * (255 - alpha) + 128) << 7;
      pixels[to + k] = (((sum >> 8) + sum) >> 8) >> 7;
    }
  }
  return { isTransparent, onTop: /** @type {Raster} */ ({ pixels, channels: 3, height, width }) };
}

/**
 * @param {Raster} raster red, green and blue
 * @returns {{isColor: boolean, result: Raster}}
 */
function grey({ pixels, height, width }) {
  const shades = new Uint8ClampedArray(height * width);
  let isColor = false;
  for (let i = 0, at = 0; i < shades.length; i++, at += 3) {
    const [red, green, blue] = [pixels[at], pixels[at + 1], pixels[at + 2]];
    if (red !== green || red !== blue) isColor = true;
    shades[i] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
  }
  return { isColor, result: { pixels: shades, channels: 1, height, width } };
}

/**
 * Pillow's `Image.resize` with `LANCZOS`: the rows and then the columns, with bytes in between, or, as from Pillow 13, the
 * columns first if the height shrinks by more than twice as many pixels as the width.
 *
 * @param {Raster} raster
 * @param {number} height
 * @param {number} width
 * @returns {Raster}
 */
export function resize(raster, height, width) {
  const [shorter, narrower] = [raster.height - height, raster.width - width];
  const passes = shorter > Math.max(0, 2 * narrower) ? [true, false] : [false, true];
  for (const isHeight of passes) {
    if (isHeight ? shorter : narrower) raster = resampled(raster, isHeight ? height : width, isHeight);
  }
  return raster;
}

/**
 * @param {Raster} raster
 * @param {number} length the new height or width
 * @param {boolean} isHeight
 * @returns {Raster}
 */
function resampled(raster, length, isHeight) {
  const { pixels, channels } = raster;
  const [height, width] = isHeight ? [length, raster.width] : [raster.height, length];
  const result = new Uint8ClampedArray(height * width * channels);
  const stride = (isHeight ? raster.width : 1) * channels; // from a pixel to the next along the side
  const taps = lanczos(isHeight ? raster.height : raster.width, length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const { first, weights } = taps[isHeight ? y : x];
      const start = (isHeight ? first * raster.width + x : y * raster.width + first) * channels;
      for (let k = 0; k < channels; k++) {
        let sum = 2 ** (PRECISION - 1);
        for (let n = 0; n < weights.length; n++) sum += pixels[start + k + n * stride] * weights[n];
        result[(y * width + x) * channels + k] = Math.floor(sum / 2 ** PRECISION);
      }
    }
  }
  return { pixels: result, channels, height, width };
}

/**
 * For each new pixel the first old one that it uses, and the whole-number weights of it and the following ones.
 *
 * @param {number} from the old length
 * @param {number} to the new one
 */
function lanczos(from, to) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const support = LOBES * stretch;
  return Array.from({ length: to }, (_, place) => {
    const center = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const last = Math.min(from, Math.trunc(center + support + 0.5));
    const values = Array.from({ length: last - first }, (_, n) => kernel((n + first - center + 0.5) * (1 / stretch)));
    const sum = values.reduce((a, b) => a + b, 0);
    const weights = values.map((value) => Math.trunc((value / sum) * 2 ** PRECISION + (value < 0 ? -0.5 : 0.5)));
    return { first, weights };
  });
}

/** @param {number} x */
function kernel(x) {
  const sinc = (/** @type {number} */ t) => (t === 0 ? 1 : Math.sin(Math.PI * t) / (Math.PI * t));
  return -LOBES <= x && x < LOBES ? sinc(x) * sinc(x / LOBES) : 0;
}

/** @param {Raster} raster */
function borderMean({ pixels, channels, height, width }) {
  let [sum, count] = [0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (y > 0 && x > 0 && y < height - 1 && x < width - 1) continue;
      for (let k = 0; k < channels; k++) sum += pixels[(y * width + x) * channels + k];
      count += channels;
    }
  }
  return sum / count;
}

/**
 * @param {Raster} raster
 * @returns {Float64Array} (channels, height, width), with pixels from 0 to 1
 */
export function scaled({ pixels, channels, height, width }) {
  const area = height * width;
  return Float64Array.from(
    { length: channels * area },
    (_, i) => pixels[(i % area) * channels + Math.floor(i / area)] / 255,
  );
}
