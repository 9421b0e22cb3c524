/** Drawing with a round brush, directly on the pixels that the network sees. */

/**
 * @typedef {import("./network.js").ImageShape} ImageShape
 *
 * @typedef {object} Brush
 * @property {number} radius in pixels of the network's input
 * @property {number[]} color a number from 0 to 1 for each channel; the background for an eraser
 */

/**
 * Draw a line from one point to another; a pixel takes the color as far as the brush covers it.
 *
 * @param {Float64Array} image (channels, height, width), changed in place
 * @param {ImageShape} shape
 * @param {Brush} brush
 * @param {{x: number, y: number}} from in pixels; the center of the first pixel is (0.5, 0.5)
 * @param {{x: number, y: number}} to
 * @param {Float64Array} covered how far the stroke already covers each pixel, changed in place
 * @param {Float64Array} before the image before the stroke
 */
export function drawLine(image, shape, brush, from, to, covered, before) {
  const [channels, height, width] = shape;
  const reach = brush.radius + 1;
  const [top, bottom] = [Math.min(from.y, to.y) - reach, Math.max(from.y, to.y) + reach];
  const [left, right] = [Math.min(from.x, to.x) - reach, Math.max(from.x, to.x) + reach];
  for (let y = Math.max(0, Math.floor(top)); y < Math.min(height, bottom); y++) {
    for (let x = Math.max(0, Math.floor(left)); x < Math.min(width, right); x++) {
      const distance = distanceToLine(x + 0.5, y + 0.5, from, to);
      const coverage = Math.min(1, Math.max(0, brush.radius + 0.5 - distance));
      const at = y * width + x;
      if (coverage <= covered[at]) continue;
      covered[at] = coverage;
      for (let k = 0; k < channels; k++) {
        const place = k * height * width + at;
        const value = before[place] + (brush.color[k] - before[place]) * coverage;
        image[place] = Math.round(value * 255) / 255; // as the bytes of a picture
      }
    }
  }
}

/**
 * @param {number} x
 * @param {number} y
 * @param {{x: number, y: number}} from
 * @param {{x: number, y: number}} to
 */
function distanceToLine(x, y, from, to) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = dx * dx + dy * dy;
  const along = length ? Math.min(1, Math.max(0, ((x - from.x) * dx + (y - from.y) * dy) / length)) : 0;
  return Math.hypot(x - from.x - along * dx, y - from.y - along * dy);
}
