/** What a layer does, in words. */

import { text } from "../dom.js";
import { INPUT } from "../pointed.js";

/**
 * What a layer does, or the shape of the image.
 *
 * @param {import("../network.js").Model} model
 * @param {number} layer
 */
export function describeAt(model, layer) {
  return layer === INPUT ? model.inputShape.join(" × ") : describeLayer(model.layers[layer]);
}

/**
 * What a layer does, in words.
 *
 * @param {import("../network.js").Layer} layer
 */
export function describeLayer(layer) {
  const shape = layer.outputShape.join(" × ");
  const activation = layer.activation ? text("layer.activation", { activation: layer.activation }) : "";
  const what = text(
    layer.kind === "pool" ? `layer.${layer.pooling}` : `layer.${layer.kind}`,
    { size: layer.size, stride: layer.stride, padding: layer.padding },
  );
  return `${what}${activation}: ${shape}`;
}
