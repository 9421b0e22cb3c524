"""The script of the page of `playground`: its modules joined into one, and what it refuses in step with Python."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lenet_multi.architecture import PRESETS, Architecture, Conv, Dense, Flatten, Pool
from lenet_multi.errors import UserError
from lenet_multi.interactive import limits
from lenet_multi.interactive.limits import require_computable
from lenet_multi.interactive.page import WEB
from lenet_multi.interactive.script import ScriptError, joined_script

MODULES = sorted(str(path.relative_to(WEB)) for path in WEB.rglob("*.js"))


def run_script(code: str, folder: Path) -> str:
    """What a program in JavaScript prints, run by the deno of this environment."""
    deno = shutil.which("deno", path=Path(sys.executable).parent)
    assert deno, "deno is not installed: pip install deno"
    (folder / "program.js").write_text(code)
    environment = {**os.environ, "DENO_DIR": str(folder / "deno"), "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}
    command = [deno, "run", "--no-remote", "--no-config", str(folder / "program.js")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def written(folder: Path, **modules: str) -> Path:
    """A folder of modules; `views__x` is x.js in the subfolder views."""
    for name, text in modules.items():
        path = folder / f"{name.replace('__', '/')}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


GOOD = {
    "main": """/** The entry. */

import { show } from "./views/show.js";
import {
  double,
  LIMIT,
} from "./math.js";

show(double(3), LIMIT);
""",
    "math": """import { base } from "./base.js";

export const LIMIT = 9;
const [two, more] = [2, "more"];
const { length } = more;
export function double(x) {
  return two * x + base() + length - 4;
}
""",
    "base": """export let count = 0;
export async function later() {}
export function* all() {}
export class Thing {}
export function base() {
  return count;
}
""",
    "views__show": """/** @typedef {import("../math.js").Shape} Shape */
import { double } from "../math.js";

export function show(...values) {
  console.log(double(1), ...values);
}
""",
}


def test_modules_are_joined_with_those_that_they_import_first(tmp_path):
    script = joined_script(written(tmp_path / "web", **GOOD))
    assert re.findall(r"^(?:const|function|async function|class|let|function\*) (\w+)", script, flags=re.M) == (
        ["count", "later", "all", "Thing", "base", "LIMIT", "double", "show"]
    )
    assert not re.search(r"^\s*(import|export)\b", script, flags=re.M)
    assert run_script(script, tmp_path) == "2 6 9\n"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"math": "export default function double() {}\n"}, "math.js: 'export default function double.*': this form"),
        ({"math": GOOD["math"] + "export default 3;\n"}, "math.js: 'export default 3;': this form"),
        ({"math": GOOD["math"] + "export { base };\n"}, "math.js: 'export { base };': this form"),
        ({"math": GOOD["math"] + "export { base as other };\n"}, "math.js: 'export { base as other };': this form"),
        ({"math": GOOD["math"] + 'export * from "./base.js";\n'}, "math.js: 'export [*] from .*': this form"),
        ({"math": GOOD["math"] + "export var x = 1;\n"}, "math.js: 'export var x = 1;': this form"),
        ({"main": 'import * as math from "./math.js";\n'}, "main.js: 'import [*] as math .*': this form"),
        ({"main": 'import math from "./math.js";\n'}, "main.js: 'import math from .*': this form"),
        ({"main": 'import "./math.js";\n'}, "main.js: 'import .*': this form"),
        ({"main": 'import { LIMIT as most } from "./math.js";\n'}, "main.js: import of 'LIMIT as most': only plain"),
        ({"main": 'import { LIMIT } from "math";\n'}, "main.js: 'import .*': this form"),
        ({"main": 'import { LIMIT } from "https://example.org/math.js";\n'}, "main.js: 'import .*': this form"),
        ({"main": "function f() {\n  return import('./math.js');\n}\n"}, "main.js: 'return import.*': this form"),
        ({"main": "const here = import.meta.url;\n"}, "main.js: 'const here = import.meta.url;': this form"),
        ({"main": '  import { LIMIT } from "./math.js";\n'}, "main.js: 'import .*': this form"),
        ({"main": 'import { triple } from "./math.js";\n'}, "main.js imports triple, which math.js does not export"),
        ({"main": 'import { x } from "./missing.js";\n'}, "there is no module missing.js in web"),
        ({"main": 'import { x } from "../outside.js";\n'}, "there is no module ../outside.js in web"),
        (
            {"base": "import { double } from './math.js';\nexport function base() {}\n"},
            "base.js: 'import .*': this form",
        ),
        (
            {"base": 'import { double } from "./math.js";\nexport function base() {}\n'},
            "in a circle: main.js imports views/show.js imports math.js imports base.js imports math.js",
        ),
        ({"math": GOOD["math"] + "function later() {}\n"}, "base.js and math.js both declare later"),
        ({"math": GOOD["math"] + "const show = 1;\n"}, "math.js and views/show.js both declare show"),
        ({"math": GOOD["math"] + "const { a: b } = LIMIT;\n"}, "math.js: 'const { a: b }': only plain names can"),
        ({"math": GOOD["math"] + "let [a, b = 1] = LIMIT;\n"}, "math.js: 'let .a, b = 1.': only plain names can"),
        ({"math": GOOD["math"] + "const [a, [b]] = LIMIT;\n"}, "math.js: 'const .a, .b.': only plain names can"),
        ({"math": GOOD["math"] + "const [other, later] = LIMIT;\n"}, "base.js and math.js both declare later"),
        ({"math": GOOD["math"] + "const { later } = LIMIT;\n"}, "base.js and math.js both declare later"),
        ({"math": GOOD["math"] + 'const end = "</SCRIPT>";\n'}, "the script holds </SCRIPT, which an HTML page cannot"),
        ({"math": GOOD["math"] + "const comment = LIMIT <!--count;\n"}, "the script holds <!--, which"),
    ],
)
def test_modules_that_cannot_be_joined_are_refused(wrong, told, tmp_path):
    with pytest.raises(ScriptError, match=told):
        joined_script(written(tmp_path / "web", **{**GOOD, **wrong}))


@pytest.mark.parametrize("entry", MODULES)
def test_every_module_of_the_page_can_be_joined(entry):
    script = joined_script(WEB, entry)
    assert not re.search(r"^\s*(import|export)\b", script, flags=re.M)


# The networks that the page computes


@pytest.mark.parametrize("name", ["MOST_LAYERS", "MOST_MAPS", "MOST_PARAMETERS", "MOST_NUMBERS", "MOST_OPERATIONS"])
def test_the_limits_are_those_of_the_script(name):
    (value,) = re.findall(rf"^const {name} = ([\d* ]+);", (WEB / "network.js").read_text(), flags=re.M)
    base, _, exponent = value.partition(" ** ")
    assert int(base) ** int(exponent or 1) == getattr(limits, name)


def network(shape: tuple[int, int, int], *layers) -> Architecture:
    return Architecture(shape, (*layers, Flatten(), Dense(2)))


# At a limit, and just over it.
PAIRS = {
    "layers": [network((1, 1, 1), *[Pool("avg", 1, 1)] * count) for count in (98, 99)],
    "image": [network((1, height, 2048), Pool("avg", 2048, 2048)) for height in (2048, 2049)],
    "side": [network((1, 1, width), Pool("avg", 1, 65536)) for width in (2**22 - 1, 2**22)],
    "maps": [network((1, 1, 1), Conv(4000, 1), Conv(maps, 1), Pool("avg", 1, 1)) for maps in (48, 49)],
    "weights": [Architecture((1, 8191, 1), (Flatten(), Dense(4096), Dense(units))) for units in (1, 2)],
    "outputs": [Architecture((1, 1, 1), (Flatten(), Dense(units), Dense(1))) for units in (2**22 - 2, 2**22 - 1)],
    "operations of a convolution": [network((1, height, 383), Conv(1, 90)) for height in (314, 315)],
    "operations of a pooling": [network((1, height, 383), Pool("max", 90, 1)) for height in (314, 315)],
}


def is_computable(architecture: Architecture) -> bool:
    try:
        require_computable(architecture, Path("x"))
    except UserError:
        return False
    return True


def test_networks_just_over_a_limit_are_refused():
    found = {name: [is_computable(each) for each in pair] for name, pair in PAIRS.items()}
    assert found == {name: [True, False] for name in PAIRS}


def test_the_script_refuses_the_same_networks(tmp_path):
    networks = [*PRESETS.values(), *(network for pair in PAIRS.values() for network in pair)]
    code = f"""
import {{ readDescription, parameterSizes }} from {json.dumps((WEB / "network.js").as_uri())};
const found = {json.dumps([network.to_dict() for network in networks])}.map((description) => {{
  try {{
    return parameterSizes(readDescription(description).layers);
  }} catch (problem) {{
    return problem.message;
  }}
}});
console.log(JSON.stringify(found));
"""
    for architecture, found in zip(networks, json.loads(run_script(code, tmp_path)), strict=True):
        assert isinstance(found, list) == is_computable(architecture), (architecture, found)
        if isinstance(found, list):
            assert [name for name, _ in found] == list(architecture.parameter_shapes)
            assert sum(size for _, size in found) == architecture.num_parameters
