"""How Sphinx builds the site; scripts/docs runs it."""

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "lenet_multi"
author = "the lenet_multi authors"
version = release = version_of("lenet-multi")

extensions = [
    "myst_nb",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "diagrams",
    "mathml",
    "playground",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Every code cell is run when the site is built, and one that fails fails the build.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 900
# Two pages run at a time, and PyTorch's threads would wait for one another's.
os.environ.setdefault("OMP_NUM_THREADS", "1")
nb_execution_raise_on_error = True
# What a download's progress bar misses in a notebook is no news for a reader.
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"
nb_merge_streams = True
nb_render_markdown_format = "myst"
nb_ipywidgets_js: dict = {}  # they would come from another site, and no page has widgets

default_role = "py:obj"  # in docstrings, `name` is code, and a link where the name is documented
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90

html_theme = "furo"
html_title = "lenet_multi"
html_favicon = "_static/icon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
copybutton_exclude = ".linenos, .gp, .go"


def keep_colons(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Napoleon takes what stands before the first line's colon for an attribute's type; here types are hints."""
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # an empty comment


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", keep_colons, priority=400)  # before Napoleon's
