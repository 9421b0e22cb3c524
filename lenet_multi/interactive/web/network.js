/** Networks as the page computes with them: layers with their shapes, and canonical parameters. */

/**
 * @typedef {"sigmoid" | "tanh" | "relu" | null} Activation
 * @typedef {[number, number, number]} ImageShape channels, height, width
 * @typedef {Map<string, Float32Array>} Parameters by canonical name; kernels are (out, in, height, width)
 *
 * @typedef {object} Layer
 * @property {string} name conv1, pool1, flatten, dense1, as in the names of the parameters
 * @property {"conv" | "pool" | "flatten" | "dense"} kind
 * @property {number[]} inputShape (channels, height, width), or (units) after flatten
 * @property {number[]} outputShape
 * @property {number} size of the window of a convolution or pooling; 0 for other layers
 * @property {number} stride of the window
 * @property {number} padding zeros at each side
 * @property {number} shift extra rows and columns of zeros above and left, and as many fewer below and right; 0 in a
 *   correct network
 * @property {"avg" | "max"} pooling
 * @property {Activation} activation
 *
 * @typedef {object} Model
 * @property {ImageShape} inputShape
 * @property {Layer[]} layers
 * @property {Parameters} parameters
 * @property {Set<string>} off channels that are switched off, as `conv1:3`, counted from 0
 * @property {boolean} channelsLast whether flatten runs through the channels last, which is wrong for these parameters
 */

/** A file or a description that the page cannot use. */
export class ModelError extends Error {
  /**
   * @param {string} key of the text that says why
   * @param {Record<string, string | number>} values of its placeholders
   */
  constructor(key, values = {}) {
    super(key);
    this.key = key;
    this.values = values;
  }
}

const ACTIVATIONS = ["sigmoid", "tanh", "relu", null];
const POOLINGS = ["avg", "max"];
// A file can describe any network. These limits, on all layers together, keep the page from hanging.
const MOST_LAYERS = 100;
const MOST_MAPS = 4096; // each is a canvas
const MOST_PARAMETERS = 2 ** 25;
const MOST_NUMBERS = 2 ** 22; // in the outputs
const MOST_OPERATIONS = 2 ** 29;

/** @param {number[]} shape */
export function sizeOf(shape) {
  return shape.reduce((product, side) => product * side, 1);
}

/**
 * The layers of a described network, with their shapes.
 *
 * @param {any} description as in the metadata of a run's file; it can come from a file of unknown origin
 * @returns {{inputShape: ImageShape, layers: Layer[]}}
 * @throws {ModelError} if it does not describe a network
 */
export function readDescription(description) {
  const shape = description?.input_shape;
  if (
    !Array.isArray(shape) || shape.length !== 3 || !shape.every((side) => isCount(side, 1)) ||
    sizeOf(shape) > MOST_NUMBERS
  ) {
    throw new ModelError("model.inputShape");
  }
  const described = description.layers;
  if (!Array.isArray(described) || described.length < 1 || described.length > MOST_LAYERS) {
    throw new ModelError("model.layers", { most: MOST_LAYERS });
  }
  /** @type {Map<string, number>} */
  const numbers = new Map();
  /** @type {Layer[]} */
  const layers = [];
  let inputShape = [...shape];
  for (const entry of described) {
    const kind = entry?.layer;
    if (!["conv", "pool", "flatten", "dense"].includes(kind)) throw new ModelError("model.kind");
    const number = (numbers.get(kind) ?? 0) + 1;
    numbers.set(kind, number);
    const name = kind === "flatten" && number === 1 ? kind : `${kind}${number}`;
    const layer = readLayer(name, kind, entry, inputShape);
    layers.push(layer);
    inputShape = layer.outputShape;
  }
  requireComputable(layers);
  const last = layers[layers.length - 1];
  if (last.kind !== "dense" || last.activation !== null) throw new ModelError("model.logits");
  return { inputShape: /** @type {ImageShape} */ ([...shape]), layers };
}

/**
 * @param {string} name
 * @param {Layer["kind"]} kind
 * @param {any} entry
 * @param {number[]} inputShape
 * @returns {Layer}
 */
function readLayer(name, kind, entry, inputShape) {
  const isFlat = inputShape.length === 1;
  if (isFlat !== (kind === "dense")) throw new ModelError("model.input", { name });
  const [size, stride] = kind === "conv"
    ? [entry.kernel_size, 1]
    : kind === "pool"
    ? [entry.kernel_size, entry.stride]
    : [0, 1];
  const padding = kind === "conv" ? entry.padding : 0;
  const units = kind === "conv" ? entry.channels : kind === "dense" ? entry.units : 1;
  const activation = entry.activation ?? null;
  const pooling = kind === "pool" ? entry.kind : "avg";
  const isKnown = ACTIVATIONS.includes(activation) && POOLINGS.includes(pooling);
  if (
    !isKnown || !isCount(stride, 1) || !isCount(padding, 0) || !isCount(units, 1) || !isCount(size, size === 0 ? 0 : 1)
  ) {
    throw new ModelError("model.setting", { name });
  }
  const layer = { name, kind, inputShape, outputShape: [units], size, stride, padding, shift: 0, pooling, activation };
  if (kind === "flatten") layer.outputShape = [sizeOf(inputShape)];
  if (kind === "conv" || kind === "pool") {
    const [channels, height, width] = inputShape;
    if (size < 1 || size > Math.min(height, width) + 2 * padding) {
      throw new ModelError("model.window", { name });
    }
    const side = (/** @type {number} */ length) => Math.floor((length + 2 * padding - size) / stride) + 1;
    layer.outputShape = [kind === "conv" ? units : channels, side(height), side(width)];
  }
  return layer;
}

/**
 * Refuse layers that the page could not compute or show while a user draws.
 *
 * @param {Layer[]} layers
 */
function requireComputable(layers) {
  let [maps, parameters, numbers, operations] = [0, 0, 0, 0];
  for (const layer of layers) {
    const weights = sizeOf(weightShape(layer));
    const outputs = sizeOf(layer.outputShape);
    if (layer.outputShape.length === 3) maps += layer.outputShape[0];
    parameters += weights;
    numbers += outputs;
    operations += layer.kind === "conv"
      ? weights * (outputs / layer.outputShape[0])
      : outputs * layer.size ** 2 + weights;
    if (
      maps > MOST_MAPS || parameters > MOST_PARAMETERS || numbers > MOST_NUMBERS || operations > MOST_OPERATIONS
    ) {
      throw new ModelError("model.large", { name: layer.name });
    }
  }
}

/**
 * @param {unknown} value
 * @param {number} least
 */
function isCount(value, least) {
  return Number.isSafeInteger(value) && /** @type {number} */ (value) >= least && /** @type {number} */
    (value) < 2 ** 22;
}

/**
 * The shape of a layer's weight, without elements for a layer that has none.
 *
 * @param {Layer} layer
 * @returns {number[]}
 */
export function weightShape(layer) {
  if (layer.kind === "conv") return [layer.outputShape[0], layer.inputShape[0], layer.size, layer.size];
  return layer.kind === "dense" ? [layer.outputShape[0], layer.inputShape[0]] : [0];
}

/**
 * Names and numbers of elements of all parameters, in their canonical order.
 *
 * @param {Layer[]} layers
 * @returns {[string, number][]}
 */
export function parameterSizes(layers) {
  return layers.flatMap((layer) => {
    const weights = sizeOf(weightShape(layer));
    if (!weights) return [];
    return /** @type {[string, number][]} */ ([
      [`${layer.name}.weight`, weights],
      [`${layer.name}.bias`, layer.outputShape[0]],
    ]);
  });
}

/**
 * @param {{inputShape: ImageShape, layers: Layer[]}} described
 * @param {Parameters} parameters
 * @returns {Model}
 */
export function modelOf(described, parameters) {
  return { ...described, parameters, off: new Set(), channelsLast: false };
}

/**
 * @param {Model} model
 * @param {string} name
 */
export function parameter(model, name) {
  const found = model.parameters.get(name);
  if (!found) throw new ModelError("model.missing", { name });
  return found;
}

/**
 * The parameters in a block of numbers: all arrays one after the other, in their canonical order.
 *
 * @param {Layer[]} layers
 * @param {Float32Array} numbers
 * @returns {Parameters}
 */
export function splitParameters(layers, numbers) {
  const parameters = new Map();
  let start = 0;
  for (const [name, size] of parameterSizes(layers)) {
    parameters.set(name, numbers.subarray(start, start + size));
    start += size;
  }
  if (start !== numbers.length) throw new ModelError("model.count");
  return parameters;
}
