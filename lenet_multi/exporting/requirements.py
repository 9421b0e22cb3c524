"""The `requirements.txt` of an exported file: the packages that it needs, in the installed versions."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from importlib.metadata import version

from lenet_multi.system.names import readable

NAME = "requirements.txt"
PACKAGES = {"PIL": "pillow"}  # of the modules that have another name than their package


def requirements(file: str, modules: Iterable[str]) -> str:
    """The content of the file.

    Args:
        file: the name of the exported file.
        modules: names of modules that have been imported.
    """
    file = readable(" ".join(file.split()))  # it may hold the end of a line, and bytes that are not UTF-8
    lines = [f"# Needed by {file}, which was checked with these versions and Python {platform.python_version()}."]
    packages = {PACKAGES.get(module, module): module for module in modules}
    for name, module in sorted(packages.items()):
        # PyPI has no builds such as 2.13.0+cpu; the version without the build fits every build.
        lines.append(f"{name}=={sys.modules[module].__version__.partition('+')[0]}")
        if name == "torch":
            lines.append("# A CPU build is smaller: add --extra-index-url https://download.pytorch.org/whl/cpu to pip.")
        if name == "mxnet" and sys.version_info >= (3, 12):
            # Python 3.12 removed distutils, which MXNet imports.
            lines.append(f"setuptools=={version('setuptools')}")
    return "\n".join([*lines, ""])
