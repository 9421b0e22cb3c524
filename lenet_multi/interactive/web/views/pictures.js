/** A picture as the network's input: decoded, prepared as by `lenet_multi.predict`, with each step shown. */

import { element, text } from "../dom.js";
import { FileProblem, inMemory } from "../file_problem.js";
import { prepare, scaled } from "../picture.js";
import { isWhole, MOST_PIXELS, upright, withoutExif } from "../picture_file.js";

/**
 * @typedef {import("../store.js").Store} Store
 * @typedef {import("../picture_file.js").PictureHeader} PictureHeader
 * @typedef {import("../picture.js").Raster} Raster
 * @typedef {import("../picture.js").Pixels} Pixels
 */

const PREVIEW = 96; // pixels of the longer side
const SAMPLES = 4; // of a side of the area that a pixel of a preview stands for

/** @param {Store} store */
export function picturesView(store) {
  const list = element("ol", { className: "steps", hidden: true, "aria-label": text("files.steps") });
  /** @type {Float64Array | null} */
  let image = null;
  store.views.push((changed) => {
    if (changed.has("image")) list.hidden = store.state.image !== image;
  });

  /**
   * Set the image to a picture.
   *
   * @param {string} name
   * @param {ArrayBuffer} content
   * @param {PictureHeader} header
   * @param {() => boolean} isWanted whether nothing has taken its place meanwhile
   * @returns {Promise<boolean>} false if it is not used, because the image was changed meanwhile
   */
  async function show(name, content, header, isWanted) {
    const shape = store.facts.inputShape;
    const [channels, height, width] = shape;
    if (channels !== 1 && channels !== 3) throw new FileProblem("files.channels", { channels });
    const drawn = store.state.image;
    const pixels = await decodePicture(name, content, header);
    if (!isWanted() || store.state.image !== drawn) return false;
    const { picture, steps, input } = inMemory(name, () => {
      const picture = upright(pixels, header.orientation);
      return { picture, ...prepare(picture, shape, store.facts.lightOnBlack) };
    });
    const size = { height: picture.height, width: picture.width, toHeight: height, toWidth: width };
    const rotated = header.orientation === 1 ? [] : [text("files.rotate")];
    const items = [
      [text("files.original", { ...size, name }), ...rotated].join(" "),
      ...steps.map((step) => text(`files.${step.name}`, size)),
    ].map((sentence, at) =>
      element("li", {}, preview(at ? steps[at - 1].result : rasterOf(picture)), element("p", {}, sentence))
    );
    if (items.length === 1) items[0].append(element("p", {}, text("files.same")));
    list.replaceChildren(...items);
    image = scaled(input);
    store.update({ image, label: null });
    return true;
  }

  return { list, show };
}

/**
 * The pixels of a picture as stored, in its own colors.
 *
 * @param {string} name
 * @param {ArrayBuffer} content
 * @param {PictureHeader} header
 * @returns {Promise<Pixels>}
 */
async function decodePicture(name, content, header) {
  const { height, width } = header;
  if (height * width > MOST_PIXELS) {
    throw new FileProblem("files.large", { name, height, width, most: MOST_PIXELS.toLocaleString("en") });
  }
  if (!isWhole(content, header)) throw new FileProblem("files.damaged", { name });
  let bitmap;
  try {
    bitmap = await createImageBitmap(withoutExif(content, header), {
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
  } catch {
    throw new FileProblem("files.damaged", { name });
  }
  try {
    return inMemory(name, () => {
      const canvas = element("canvas", { width, height });
      const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
      context.drawImage(bitmap, 0, 0);
      return context.getImageData(0, 0, width, height);
    });
  } finally {
    bitmap.close();
  }
}

/**
 * @param {Pixels} picture
 * @returns {Raster}
 */
function rasterOf({ data, height, width }) {
  return { pixels: data, channels: 4, height, width };
}

/**
 * A small picture, in which each pixel is the mean of some pixels of its area.
 *
 * @param {Raster} raster of 1, 3 or 4 channels
 */
function preview({ pixels, channels, height, width }) {
  const scale = Math.max(1, Math.max(height, width) / PREVIEW);
  const [toHeight, toWidth] = [height, width].map((side) => Math.max(1, Math.round(side / scale)));
  const canvas = element("canvas", { "aria-hidden": "true", width: toWidth, height: toHeight });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const small = context.createImageData(toWidth, toHeight);
  const samples = Math.min(SAMPLES, Math.ceil(scale));
  /** @type {(place: number, sample: number, from: number, to: number) => number} */
  const at = (place, sample, from, to) =>
    Math.min(from - 1, Math.floor(((place + (sample + 0.5) / samples) * from) / to));
  for (let y = 0; y < toHeight; y++) {
    for (let x = 0; x < toWidth; x++) {
      const sums = [0, 0, 0, 0];
      for (let n = 0; n < samples ** 2; n++) {
        const row = at(y, Math.floor(n / samples), height, toHeight);
        const start = (row * width + at(x, n % samples, width, toWidth)) * channels;
        for (let k = 0; k < 3; k++) sums[k] += pixels[start + (channels === 1 ? 0 : k)];
        sums[3] += channels === 4 ? pixels[start + 3] : 255;
      }
      small.data.set(sums.map((sum) => Math.round(sum / samples ** 2)), 4 * (y * toWidth + x));
    }
  }
  context.putImageData(small, 0, 0);
  return canvas;
}
