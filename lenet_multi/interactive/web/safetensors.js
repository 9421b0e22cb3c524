/** Reads a run's `model.safetensors`: bytes 0 to 7 give the length of a JSON header; the arrays follow it. */

import { ModelError, parameterSizes, readDescription, sizeOf, weightShape } from "./network.js";

/**
 * @typedef {import("./network.js").ImageShape} ImageShape
 * @typedef {import("./network.js").Layer} Layer
 * @typedef {import("./network.js").Parameters} Parameters
 */

export const MOST_BYTES = 2 ** 28;
const MOST_HEADER = 2 ** 24; // as in Python

/**
 * @param {ArrayBuffer} content of the file, which can be of unknown origin
 * @returns {{inputShape: ImageShape, layers: Layer[], parameters: Parameters, run: any}} `run` is its metadata, unchecked
 * @throws {ModelError} if the file is not a checkpoint of lenet_multi
 */
export function readCheckpoint(content) {
  const header = readHeader(content);
  const metadata = header.__metadata__ ?? {};
  const described = readDescription(parse(metadata.architecture, "model.description"));
  const start = 8 + headerLength(content);
  requireArrays(header, described.layers, content.byteLength - start);
  const parameters = new Map();
  for (const [name, size] of parameterSizes(described.layers)) {
    parameters.set(name, readArray(content, start + header[name].data_offsets[0], name, size));
  }
  return { ...described, parameters, run: metadata.run ? parse(metadata.run, "model.metadata") : null };
}

/**
 * Check that the file holds the network's parameters and nothing else, one after the other in any order.
 *
 * @param {Record<string, any>} header
 * @param {Layer[]} layers
 * @param {number} length of the arrays in bytes
 */
function requireArrays(header, layers, length) {
  const places = layers.flatMap((layer) => {
    const shape = weightShape(layer);
    if (!sizeOf(shape)) return [];
    return [
      requirePlace(header, `${layer.name}.weight`, shape),
      requirePlace(header, `${layer.name}.bias`, [layer.outputShape[0]]),
    ];
  });
  const others = Object.keys(header).filter((name) => name !== "__metadata__");
  if (others.length !== places.length) throw new ModelError("model.others");
  let end = 0;
  for (const [first, last] of places.sort((a, b) => a[0] - b[0])) {
    if (first !== end) throw new ModelError("model.overlap");
    end = last;
  }
  if (end !== length) throw new ModelError("model.truncated");
}

/**
 * @param {Record<string, any>} header
 * @param {string} name
 * @param {number[]} shape
 * @returns {[number, number]} where the array starts and ends
 */
function requirePlace(header, name, shape) {
  const { dtype, shape: stored, data_offsets: offsets } = (Object.hasOwn(header, name) && header[name]) || {};
  const isShape = Array.isArray(stored) && stored.length === shape.length &&
    shape.every((side, i) => side === stored[i]);
  const [first, last] = Array.isArray(offsets) && offsets.every(Number.isSafeInteger) ? offsets : [-1, -1];
  if (dtype !== "F32" || !isShape || first < 0 || last - first !== 4 * sizeOf(shape)) {
    throw new ModelError("model.array", { name, shape: shape.join(" × ") });
  }
  return [first, last];
}

/** @param {ArrayBuffer} content */
function headerLength(content) {
  return content.byteLength < 8 ? 0 : Number(new DataView(content).getBigUint64(0, true));
}

/**
 * @param {ArrayBuffer} content
 * @returns {Record<string, any>}
 */
function readHeader(content) {
  const length = headerLength(content);
  if (length < 2 || length > MOST_HEADER || 8 + length > content.byteLength || content.byteLength > MOST_BYTES) {
    throw new ModelError("model.file");
  }
  const header = parse(new Uint8Array(content, 8, length), "model.file");
  if (typeof header !== "object" || header === null) throw new ModelError("model.file");
  return header;
}

/**
 * @param {ArrayBuffer} content
 * @param {number} start
 * @param {string} name
 * @param {number} size
 */
function readArray(content, start, name, size) {
  const view = new DataView(content, start, 4 * size);
  const values = Float32Array.from({ length: size }, (_, i) => view.getFloat32(4 * i, true));
  if (!values.every(Number.isFinite)) throw new ModelError("model.finite", { name });
  return values;
}

/**
 * @param {unknown} text or its bytes in UTF-8
 * @param {string} problem the key of its text
 */
function parse(text, problem) {
  try {
    const isBytes = text instanceof Uint8Array;
    return JSON.parse(isBytes ? new TextDecoder("utf-8", { fatal: true }).decode(text) : String(text));
  } catch {
    throw new ModelError(problem);
  }
}
