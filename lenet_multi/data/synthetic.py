"""Images of ten classes of garments, drawn by code, for use without Fashion-MNIST.

This data set does not replace Fashion-MNIST in reported figures. It is drawn without images from any data set, and an
accuracy on it says nothing about Fashion-MNIST. It has Fashion-MNIST's format (array shapes, sizes, class order, light
garments on black, 28 x 28 bytes) and similar classes (shirt, pullover, coat, T-shirt and, less so, dress; sneaker,
sandal and boot), which a network confuses because their shapes overlap. Every label is the garment that was drawn.

A garment consists of simple shapes. A shape is an array with the distance of each pixel of each image from the edge of
the shape, in pixels, positive inside and negative outside. `np.minimum` therefore intersects two shapes, `np.maximum`
unites them, and clipping the distance to half a pixel on both sides gives a soft edge. A measure (a width, an angle, a
shade) is drawn at random for each image and has the shape (N, 1, 1), so one expression draws N images.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

VERSION = 1  # increase it when an image changes: the cache folder contains it in its name

SIZE = 28
CHUNK = 250  # images drawn at once: one array is 0.8 MB and stays in the processor's cache

Array = np.ndarray  # float32 (N, 28, 28)
Measure = np.ndarray | float  # float32 (N, 1, 1), or one number for all images


def span(v: Array, low: Measure, high: Measure) -> Array:
    """The strip low < v < high."""
    half = (high - low) * 0.5
    return half - np.abs(v - (low + half))


def box(x: Array, y: Array, left: Measure, right: Measure, top: Measure, bottom: Measure) -> Array:
    """An upright rectangle."""
    return np.minimum(span(x, left, right), span(y, top, bottom))


def ellipse(x: Array, y: Array, cx: Measure, cy: Measure, rx: Measure, ry: Measure) -> Array:
    """An upright ellipse around (cx, cy). The distance is exact for circles and approximate for other ellipses."""
    return (1 - np.sqrt(np.square((x - cx) / rx) + np.square((y - cy) / ry))) * np.minimum(rx, ry)


def ring(shape: Array, thickness: Measure) -> Array:
    """The outline of a shape, `thickness` wide."""
    return thickness * 0.5 - np.abs(shape)


def limb(
    x: Array, y: Array, start: tuple[Measure, Measure], end: tuple[Measure, Measure], r0: Measure, r1: Measure
) -> Array:
    """A straight limb between two points (x, y) with square ends, of half-width r0 at the start and r1 at the end."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = np.sqrt(dx * dx + dy * dy)
    ux, uy = dx / length, dy / length
    along = x * ux + (y * uy - (start[0] * ux + start[1] * uy))
    across = x * uy - (y * ux + (start[0] * uy - start[1] * ux))
    return np.minimum(r0 + along * ((r1 - r0) / length) - np.abs(across), span(along, 0, length))


class Sketch:
    """N images of one class while they are drawn.

    `x` and `y` are the coordinates of each pixel on the garment, in pixels from its center, x to the right and y down,
    after a random pose (shift, scale, rotation, shear). `side` is |x|, for garments with two equal halves. `image` is
    the brightness drawn so far, from 0 (background) to 1. All four are float32 (N, 28, 28).
    """

    def __init__(self, count: int, rng: np.random.Generator, fields: tuple[np.ndarray, ...]) -> None:
        self.count, self.rng, self.fields = count, rng, fields
        pixel = np.arange(SIZE, dtype=np.float32) - (SIZE - 1) / 2
        across, down = pixel[None, None, :], pixel[None, :, None]
        turn, shear, scale = self.between(-0.06, 0.06), self.between(-0.06, 0.06), self.between(0.92, 1.06)
        self.x = across * scale + (down * (turn + shear) + self.between(-1, 1))
        self.y = across * -turn + (down * scale * self.between(0.94, 1.06) + self.between(-1, 1))
        self.side = np.abs(self.x)
        self.image = np.zeros_like(self.x)

    def between(self, low: float, high: float) -> np.ndarray:
        """One random number per image, uniform in [low, high): float32 (N, 1, 1)."""
        return self.rng.random((self.count, 1, 1), np.float32) * np.float32(high - low) + np.float32(low)

    def sometimes(self, probability: float) -> np.ndarray:
        """1 with this probability, else 0, for each image: float32 (N, 1, 1)."""
        return (self.between(0, 1) < probability).astype(np.float32)

    def crop(self, field: np.ndarray) -> Array:
        """A random window of a noise field for each image."""
        views = np.lib.stride_tricks.sliding_window_view(field, (SIZE, SIZE))
        return views[tuple(self.rng.integers(0, len(views), (2, self.count)))]

    def cloth(self, patterned: float = 0.3) -> Array:
        """The brightness of a fabric: a shade, a gradient and creases; sometimes stripes, checks or a print."""
        _, prints, creases = self.fields
        shade = 1 - 0.75 * np.square(self.between(0, 1))
        angle = np.where(self.sometimes(0.5) > 0, self.between(-0.2, 0.2), self.between(1.4, 1.8))
        pitch = self.between(0.8, 2.2)
        fx, fy = np.sin(angle) * pitch, np.cos(angle) * pitch
        stripes = self.between(0.08, 0.35) * self.sometimes(patterned)
        checks = stripes * self.sometimes(0.3)
        tone = 0.92 + (self.x * self.between(-0.012, 0.012) + self.y * self.between(-0.012, 0.012))
        tone += stripes * np.sin(self.x * fx + self.y * fy)
        tone += checks * np.sin(self.x * fy - self.y * fx)
        tone += self.between(0.1, 0.35) * self.sometimes(patterned * 0.7) * self.crop(prints)
        tone += self.between(0.02, 0.12) * self.crop(creases)
        return tone * shade

    def paint(self, shape: Array, tone: Array) -> None:
        """Draw a shape with this brightness over the image."""
        self.image += (tone - self.image) * np.clip(shape + 0.5, 0, 1)

    def darken(self, shape: Array, amount: Measure) -> None:
        """Reduce the brightness within a shape by the fraction `amount`; a negative amount increases it."""
        self.image *= 1 - amount * np.clip(shape + 0.5, 0, 1)

    def finish(self) -> np.ndarray:
        """The images with the grain of the fabric: uint8 (N, 28, 28). The background is 0."""
        self.image *= 1 + self.between(0.01, 0.07) * self.crop(self.fields[0])
        return np.clip(self.image * 255, 0, 255).astype(np.uint8)


def torso(s: Sketch, top: Measure, hem: Measure, chest: Measure, skirt: Measure, nip: Measure) -> Array:
    """A torso with sloping shoulders: half-width `chest` at the top, `skirt` at the hem, less `nip` in the middle."""
    t = np.clip((s.y - top) / (hem - top), 0, 1)
    width = chest + t * (skirt - chest - (4 * nip) * (1 - t))
    return np.minimum(np.minimum(width - s.side, s.y - top - s.side * 0.22), hem - s.y)


def sleeves(s: Sketch, top: Measure, chest: Measure, arm: Measure, swing: Measure, reach: Measure) -> Array:
    """Two sleeves of half-width `arm` that end `swing` outside the shoulder and `reach` below it."""
    shoulder = (chest - arm * 0.7, top + arm + 0.6)
    cuff = (shoulder[0] + swing, shoulder[1] + reach)
    return np.maximum(limb(s.side, s.y, shoulder, cuff, arm, arm * 0.75), ellipse(s.side, s.y, *shoulder, arm, arm))


def sew(s: Sketch, body: Array, arms: Array, neck: Array) -> None:
    """Draw sleeves and body in one fabric with a seam between them. The neck is open and sometimes shows the back."""
    fabric = s.cloth()
    s.paint(arms, fabric * s.between(0.75, 1.05))
    s.darken(ring(body, 1.4), s.between(0.1, 0.7))
    s.paint(body, fabric)
    s.darken(neck, 1 - s.between(0.1, 0.5) * s.sometimes(0.4))


def t_shirt(s: Sketch) -> None:
    """Short sleeves, sometimes long ones, and a wide neck; often a print on the chest."""
    top, chest = s.between(-13.5, -11.5), s.between(6.5, 8.5)
    reach = s.between(2.5, 6) + s.sometimes(0.12) * s.between(4, 14)
    body = torso(s, top, s.between(10, 13.5), chest, skirt=s.between(6, 8.5), nip=s.between(-0.3, 1))
    arms = sleeves(s, top, chest, s.between(2, 3.2), swing=s.between(2.5, 5), reach=reach)
    sew(s, body, arms, ellipse(s.x, s.y, 0, top, s.between(2.2, 4.5), s.between(1.2, 4)))
    middle, width, height = s.between(-5, 1), s.between(1.5, 4.5), s.between(0.7, 3.5)
    s.darken(box(s.x, s.y, -width, width, middle - height, middle + height), s.between(-0.5, 0.6) * s.sometimes(0.4))


def trouser(s: Sketch) -> None:
    """Two legs that separate below the hips, a waistband and a fly; a few are shorts."""
    top, hips = s.between(-14, -12.5), s.between(4, 5.8)
    crotch, foot = top + s.between(6, 9), s.between(12.5, 14.5) - s.sometimes(0.06) * s.between(6, 12)
    seat = np.minimum(span(s.y, top, crotch), hips + (s.y - crotch) * 0.12 - s.side)
    thigh = hips * 0.5
    ankle = (thigh + s.between(-0.3, 2.2), foot)
    leg = limb(s.side, s.y, (thigh, crotch - 1.5), ankle, thigh, s.between(1.3, 2.6))
    s.paint(np.maximum(seat, leg), s.cloth())
    s.darken(span(s.y, top, top + 1.5), s.between(-0.2, 0.4))
    s.darken(np.minimum(0.3 - s.side, crotch - s.y), s.between(0, 0.5))


def pullover(s: Sketch) -> None:
    """Long sleeves, a closed front, ribbing at hem and neck; sometimes lettering on the chest."""
    top, hem, chest = s.between(-14, -12), s.between(9, 13), s.between(6.6, 8.8)
    body = torso(s, top, hem, chest, skirt=s.between(6, 8.6), nip=s.between(-0.6, 1))
    arms = sleeves(s, top, chest, s.between(1.9, 2.9), swing=s.between(2.8, 5.5), reach=s.between(16.5, 22.5))
    wide, deep = s.between(2, 4), s.between(1, 3.5)
    sew(s, body, arms, ellipse(s.x, s.y, 0, top, wide, deep))
    s.darken(span(s.y, hem - 2, hem), s.between(0, 0.35))
    s.darken(ring(ellipse(s.x, s.y, 0, top, wide + 1, deep + 1), 1.2), s.between(-0.2, 0.4))
    middle, width = s.between(-5, 1), s.between(2, 4.5)
    s.darken(box(s.x, s.y, -width, width, middle - 1.5, middle + 1.5), s.between(-0.4, 0.5) * s.sometimes(0.25))


def dress(s: Sketch) -> None:
    """As long as the image and narrow, with a widening skirt; straps, or short or long sleeves."""
    cut, top, chest = s.between(0, 1), s.between(-14, -12), s.between(3.5, 6.6)
    body = torso(s, top, s.between(12, 15), chest, skirt=s.between(4, 8.8), nip=s.between(-0.3, 1.8))
    arm = np.where(cut < 0.4, s.between(0.5, 1.2), s.between(1.4, 2.5))
    reach = np.where(cut < 0.4, s.between(1, 2), np.where(cut < 0.75, s.between(3, 6), s.between(9, 19)))
    arms = sleeves(s, top, chest, arm, swing=s.between(0.5, 4), reach=reach)
    sew(s, body, arms, ellipse(s.x, s.y, 0, top, s.between(1.8, 3.5), s.between(1.2, 4.5)))
    waist = s.between(-4, 2)
    s.darken(span(s.y, waist, waist + 1), s.between(-0.3, 0.6) * s.sometimes(0.5))


def coat(s: Sketch) -> None:
    """Long sleeves, a long and wide body, an opening at the front, lapels and pockets."""
    top, chest = s.between(-14.5, -12.3), s.between(6.4, 8.6)
    body = torso(s, top, s.between(10.8, 14.5), chest, skirt=s.between(6.2, 9), nip=s.between(-0.3, 1.2))
    arms = sleeves(s, top, chest, s.between(2, 3.1), swing=s.between(2.5, 5), reach=s.between(17.5, 23.5))
    wide = s.between(1.8, 3.7)
    sew(s, body, arms, ellipse(s.x, s.y, 0, top, wide, s.between(1, 3)))
    s.darken(s.between(0.3, 1.2) - np.abs(s.x - s.between(-0.8, 0.8)), s.between(0.15, 0.9))
    lapel = limb(s.side, s.y, (wide, top + 1), (wide * 0.1, top + s.between(5, 12)), 0.6, 0.6)
    s.darken(lapel, s.between(-0.4, 0.6))
    pocket = s.between(2, 7)
    s.darken(box(s.side, s.y, 2.5, 6, pocket, pocket + 1), s.between(0.1, 0.5) * s.sometimes(0.5))


def shirt(s: Sketch) -> None:
    """A collar and a row of buttons, both sometimes faint; short or long sleeves; the same body as the other tops."""
    short, top, chest = s.sometimes(0.35), s.between(-13.7, -11.7), s.between(6.2, 8.4)
    reach = np.where(short > 0, s.between(3, 7), s.between(15, 22))
    body = torso(s, top, s.between(10.2, 14), chest, skirt=s.between(6, 8.7), nip=s.between(-0.3, 1.2))
    arms = sleeves(s, top, chest, s.between(2, 3), swing=s.between(2.5, 5), reach=reach)
    wide, deep = s.between(1.8, 3.8), s.between(1, 3.5)
    sew(s, body, arms, ellipse(s.x, s.y, 0, top, wide, deep))
    front = span(s.x, -0.6, 0.6)
    s.darken(front, s.between(-0.15, 0.35))
    s.darken(np.minimum(front, np.sin(s.y * s.between(1.2, 2.2)) - 0.2), s.between(-0.3, 0.6) * s.sometimes(0.7))
    collar = limb(s.side, s.y, (wide + 1, top + 0.3), (0.5, top + deep + 2.2), 1.1, 0.6)
    s.darken(ring(collar, 1), s.between(-0.1, 0.7))


def upper(
    s: Sketch, sole: Measure, ends: tuple[Measure, Measure], low: Measure, high: Measure, start: Measure, run: Measure
) -> Array:
    """A shoe from the side, between its ends (toe, heel); its height rises from `low`, from `start` on, to `high`."""
    toe, heel = ends
    t = np.clip((s.x - start) / run, 0, 1)
    instep = low + (high - low) * (t * t * (1.6 - 0.6 * t))
    # The height above a steep edge exceeds the distance from it: without the root the edge would be hard.
    roof = (s.y - sole + instep) / np.sqrt(1 + np.square((high - low) / run))
    nose = (s.x - toe) * 0.8 + (s.y - sole) * 0.6 + 1
    return np.minimum(np.minimum(roof, nose), np.minimum(sole - s.y, heel - s.x))


def sandal(s: Sketch) -> None:
    """A thin sole, flat or with a heel, and straps over the toes, at the ankle, or as strips of a cut-out shoe."""
    toe, heel, thick = s.between(-14, -12), s.between(11, 14), s.between(1, 2.6)
    base, rise = s.between(3.5, 7.5), s.between(3, 12) * s.sometimes(0.35)
    base = base + rise * 0.3
    fabric = s.cloth(patterned=0.15)
    ground = base - rise * np.clip((s.x + 4) / 14, 0, 1)
    sole = np.minimum(span(s.y, ground, ground + thick), span(s.x, toe, heel))
    post = box(s.x, s.y, heel - s.between(1.5, 5), heel, ground, base + thick)
    s.paint(np.maximum(sole, post), fabric * s.between(0.5, 1))
    high = s.between(4, 10)
    shoe = upper(s, ground, (toe + 1, heel), s.between(2, 4.5), high, start=s.between(-6, 2), run=s.between(5, 12))
    wave = np.sin(s.x * s.between(0.4, 0.8) + s.y * s.between(-0.7, 0.7) + s.between(0, 6.3)) - s.between(-1, 1.2)
    strips = np.minimum(shoe, wave * 2)
    instep = ellipse(s.x, s.y, s.between(-10, -5), ground, s.between(2.5, 5), s.between(3, 6))
    ankle = ellipse(s.x, s.y, heel - 4, ground - high * 0.5, s.between(2.5, 4.5), high * 0.6)
    loops = np.maximum(ring(instep, s.between(0.8, 2.2)), ring(ankle, s.between(0.5, 1.6)) - 3 * s.sometimes(0.5))
    s.paint(np.maximum(np.minimum(loops, ground - s.y), strips), fabric)


def sneaker(s: Sketch) -> None:
    """A low closed shoe with a flat sole of another shade, laces and a stripe on the side; some reach the ankle."""
    toe, heel, high = s.between(-14, -12.5), s.between(12, 14), s.between(7, 11.5) + s.sometimes(0.2) * s.between(2, 6)
    base, start, run = high * 0.5 + s.between(0.5, 3), s.between(-7, -2), s.between(5, 9)
    shoe = upper(s, base, (toe, heel), s.between(2.5, 4.5), high, start, run)
    mouth = ellipse(s.x, s.y, s.between(6, 8), base - high, s.between(3.5, 5), s.between(0.8, 3))
    s.paint(np.minimum(shoe, -mouth), s.cloth(patterned=0.12))
    flash = s.between(-3, 4)
    stripe = limb(s.x, s.y, (flash, base - high * 0.7), (flash + s.between(-4, 4), base), s.between(0.4, 1), 0.5)
    s.darken(np.minimum(stripe, shoe), s.between(-0.6, 0.7) * s.sometimes(0.6))
    laces = np.minimum(span(shoe, 0.5, 2), np.minimum(np.sin(s.x * 2.1), span(s.x, start, start + run)))
    s.darken(laces, s.between(-0.5, 0.6))
    s.paint(box(s.x, s.y, toe, heel, base - 0.3, base + s.between(1, 3)), s.between(0.25, 1))


def bag(s: Sketch) -> None:
    """A box, sometimes wider at the bottom, with a flap and a clasp, and usually a handle on top."""
    width, height, bottom = s.between(8.5, 14), s.between(4.5, 11), s.between(9, 13.5)
    top = bottom - 2 * height
    fabric = s.cloth()
    handle = ring(ellipse(s.x, s.y, 0, top, width * s.between(0.3, 0.85), s.between(3, 11)), s.between(0.8, 2))
    s.paint(handle, fabric * s.between(0.5, 1) * s.sometimes(0.8))
    box_sides = width + (s.y - bottom) * s.between(-0.05, 0.25) - s.side
    corners = (width + height - 1.5 - s.side - np.abs(s.y - bottom + height)) * 0.7
    body = np.minimum(np.minimum(box_sides, corners), span(s.y, top, bottom))
    s.paint(body, fabric)
    flap = top + height * s.between(0.4, 1.5)
    s.darken(np.minimum(body, flap - s.y), s.between(-0.3, 0.35) * s.sometimes(0.6))
    s.darken(np.minimum(body, span(s.y, flap, flap + 1)), s.between(0, 0.6))
    s.darken(box(s.x, s.y, -1.3, 1.3, flap - 1, flap + 1.5), s.between(-0.6, 0.8) * s.sometimes(0.6))


def ankle_boot(s: Sketch) -> None:
    """A shoe with a shaft, a heel and a cuff, and sometimes an elastic panel at the ankle."""
    toe, heel, high = s.between(-14, -12), s.between(10, 13.5), s.between(10.5, 20)
    base, lift = high * 0.5 + s.between(0, 2), s.between(1, 4)
    start, run = s.between(-8, -2), s.between(4, 9)
    shoe = upper(s, base, (toe, heel), s.between(3.5, 6), high, start, run)
    fabric = s.cloth(patterned=0.12)
    s.paint(shoe, fabric)
    panel = ellipse(s.x, s.y, s.between(3, 7), base - high, s.between(1.5, 3.5), s.between(5, 10))
    s.darken(np.minimum(panel, shoe), s.between(-0.3, 0.6) * s.sometimes(0.5))
    s.darken(np.minimum(span(s.y, base - high, base - high + 1.5), shoe), s.between(-0.2, 0.5))
    laces = np.minimum(span(shoe, 0.5, 2), np.minimum(np.sin(s.y * 2.1), span(s.x, start, start + run)))
    s.darken(laces, s.between(-0.5, 0.6) * s.sometimes(0.4))
    sole = box(s.x, s.y, toe, heel, base - 0.3, base + s.between(0.7, 1.6))
    block = box(s.x, s.y, heel - s.between(3, 8), heel, base, base + lift)
    s.paint(np.maximum(sole, block), fabric * s.between(0.3, 1))


# The index is the label, as in Fashion-MNIST.
GARMENTS: tuple[Callable[[Sketch], None], ...] = (
    *(t_shirt, trouser, pullover, dress, coat),
    *(sandal, shirt, sneaker, bag, ankle_boot),
)


def smooth(noise: np.ndarray, height: int, width: int) -> np.ndarray:
    """The sum over a window of this size, with wrapped edges, scaled so that white noise keeps its variance."""
    total = np.zeros_like(noise)
    for dy, dx in np.ndindex(height, width):
        total += np.roll(noise, (dy, dx), (0, 1))
    return total / np.float32(np.sqrt(height * width))


def noise_fields(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Large noise fields for a fabric's grain, print and creases, to crop windows from; each float32 (512, 512)."""
    grain = rng.standard_normal((512, 512), np.float32)
    return grain, np.tanh(smooth(smooth(grain, 2, 2), 2, 2)), smooth(grain, 9, 3)


def draw_split(count: int, seed: int, split: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` shuffled examples of one split: images uint8 (count, 28, 28) and labels uint8 (count,)."""
    rng = np.random.default_rng([seed, split])
    labels = rng.permutation(np.arange(count) % len(GARMENTS)).astype(np.uint8)
    fields = noise_fields(rng)
    images = np.empty((count, SIZE, SIZE), np.uint8)
    for label, garment in enumerate(GARMENTS):
        (examples,) = np.nonzero(labels == label)
        for start in range(0, len(examples), CHUNK):
            chunk = examples[start : start + CHUNK]
            sketch = Sketch(len(chunk), rng, fields)
            garment(sketch)
            images[chunk] = sketch.finish()
    return images, labels


def generate(
    num_train: int = 60_000, num_test: int = 10_000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw the data set: training images, training labels, test images, test labels.

    Images are uint8 (n, 28, 28), labels uint8 (n,) in Fashion-MNIST's order: T-shirt/top, trouser, pullover, dress,
    coat, sandal, shirt, sneaker, bag, ankle boot. The examples are shuffled, and the classes have equal sizes (if n is
    not a multiple of ten, they differ by one). The result depends only on the arguments, and the size of one split does
    not change the other. Another version of NumPy or another processor may round a sine differently and change a pixel
    by one. Raises ValueError for a split of fewer than ten examples or a negative seed.
    """
    if min(num_train, num_test) < len(GARMENTS):
        raise ValueError(f"a split needs at least {len(GARMENTS)} examples, got {num_train} and {num_test}")
    if seed < 0:
        raise ValueError(f"the seed must be 0 or more, got {seed}")
    return *draw_split(num_train, seed, 0), *draw_split(num_test, seed, 1)
