"""The JavaScript modules of the network playground, in a blank page, so that a test can call what they export."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from playwright.sync_api import Page, Route

import lenet_multi
from lenet_multi.architecture import Architecture
from lenet_multi.backends import BACKENDS

WEB = Path(lenet_multi.__file__).parent / "interactive" / "web"
ADDRESS = "http://127.0.0.1:9/"  # nothing listens there: the test answers
BLANK = '<!doctype html><html lang="en"><title>modules</title><link rel="icon" href="data:,"><main id="page"></main>'


def open_modules(page: Page, *names: str) -> None:
    """Open a blank page in which everything that the named modules export is global."""

    def serve(route: Route) -> None:
        path = WEB / urlsplit(route.request.url).path.lstrip("/")
        if path.suffix == ".js":
            route.fulfill(path=path, content_type="text/javascript")
        else:
            route.fulfill(body=BLANK, content_type="text/html")

    page.route(ADDRESS + "**", serve)
    page.goto(ADDRESS)
    page.evaluate(
        "names => Promise.all(names.map(name => import(`/${name}.js`)))"
        ".then(modules => { Object.assign(globalThis, ...modules); })",
        names,
    )


def page_data(
    architecture: Architecture,
    parameters: Mapping[str, np.ndarray],
    images: np.ndarray,
    labels: Sequence[int],
    *,
    epochs: Sequence[Mapping[str, np.ndarray]] = (),
    points: Sequence[tuple[float, float, float, float | None]] = (),
    classes: Sequence[str] | None = None,
    title: str = "first",
) -> dict[str, Any]:
    """What the page's script reads, with one run. `images` is uint8, (N, C, H, W); `epochs` begin before training."""
    run = {
        "title": title,
        "facts": "",
        "description": architecture.to_dict(),
        "testAccuracy": None,
        "points": [list(point) for point in points],
        "parameters": encoded(architecture, parameters),
        "epochs": [{"epoch": n, "parameters": encoded(architecture, each)} for n, each in enumerate(epochs)],
    }
    return {
        "texts": json.loads((WEB / "texts.json").read_text()),
        "colors": base64.b64encode(np.arange(256, dtype=np.uint8).repeat(3).tobytes()).decode(),  # shades of grey
        "frameworks": BACKENDS,
        "lightOnBlack": True,
        "classes": list(classes or map(str, range(architecture.num_classes))),
        "runs": [run],
        "images": {
            "dataset": "small",
            "pixels": base64.b64encode(images.tobytes()).decode(),
            "labels": list(labels),
            "indices": list(range(len(labels))),
        },
    }


def encoded(architecture: Architecture, parameters: Mapping[str, np.ndarray]) -> str:
    """All parameters in their canonical order, little-endian float32, in base64."""
    arrays = [np.ascontiguousarray(parameters[name], "<f4").tobytes() for name in architecture.parameter_shapes]
    return base64.b64encode(b"".join(arrays)).decode()
