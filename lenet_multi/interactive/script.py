"""Joins the page's JavaScript modules into one script: a page opened from disk cannot import files.

This is no parser of JavaScript. It understands the forms that the modules use, and refuses others: named imports from
a relative path, and `export` before a declaration, each at the beginning of a line, where `deno fmt` puts them.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path

IMPORT = re.compile(r'^import \{([^{}]*)\} from "(\.{1,2}/[^"\n]+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?function\b|(?:class|const|let) )", re.MULTILINE)
# A name, or names in brackets.
DECLARATION = re.compile(
    r"^(export )?(?:(?:async )?function\b\*? ?|(?:class|const|let|var) )([\w$]+|\[[^]]*\]|\{[^}]*\}|\W)", re.MULTILINE
)
NAME = re.compile(r"[A-Za-z_$][\w$]*")
COMMENT = re.compile(r"/\*.*?\*/|^\s*//[^\n]*", re.MULTILINE | re.DOTALL)
# What remains of imports and exports when those that are understood are taken out.
OTHER_FORM = re.compile(r"^.*\bimport\s*[(.].*|^\s*(?:import|export)\b.*", re.MULTILINE)
# An HTML parser would end the script, or change how it reads the rest.
UNSAFE_IN_HTML = re.compile(r"</script|<!--", re.IGNORECASE)


class ScriptError(ValueError):
    """The modules cannot be joined."""


@dataclass(frozen=True)
class Module:
    """A module without its imports and the word `export`.

    Args:
        text: what remains.
        imports: the imported names by the module that they come from, in the order of the file.
        declared: its names at the top level.
        exported: those that others may import.
    """

    text: str
    imports: dict[str, list[str]]
    declared: list[str]
    exported: set[str]


def joined_script(folder: Path, entry: str = "main.js") -> str:
    """A script that does what a module does, with all that it imports, each module after those that it imports.

    Args:
        folder: holds the modules, in subfolders too.
        entry: the path of the module in the folder.

    Raises:
        ScriptError: when a module is missing or has a form that is not understood, modules import each other in a
            circle, or two declare the same name.
    """
    modules: dict[str, Module] = {}
    _add(folder, entry, modules, ())
    owners: dict[str, str] = {}
    for path, module in modules.items():
        for name in module.declared:
            if name in owners:
                raise ScriptError(f"{owners[name]} and {path} both declare {name}")
            owners[name] = path
    script = "\n".join(module.text.strip("\n") + "\n" for module in modules.values())
    if unsafe := UNSAFE_IN_HTML.search(script):
        raise ScriptError(f"the script holds {unsafe[0]}, which an HTML page cannot")
    return script


def _add(folder: Path, path: str, modules: dict[str, Module], importers: tuple[str, ...]) -> None:
    """Add a module after those that it imports."""
    if path in importers:
        raise ScriptError(f"modules import each other in a circle: {' imports '.join((*importers, path))}")
    if path in modules:
        return
    module = _read(folder, path)
    for target, names in module.imports.items():
        _add(folder, target, modules, (*importers, path))
        for name in names:
            if name not in modules[target].exported:
                raise ScriptError(f"{path} imports {name}, which {target} does not export")
    modules[path] = module


def _read(folder: Path, path: str) -> Module:
    if path.startswith("../") or not (folder / path).is_file():
        raise ScriptError(f"there is no module {path} in {folder.name}")
    source = (folder / path).read_text(encoding="utf-8")
    imports: dict[str, list[str]] = {}
    for found in IMPORT.finditer(source):
        names = _names(found[1])
        for name in names:
            if not NAME.fullmatch(name):
                raise ScriptError(f"{path}: import of '{name}': only plain names can be imported")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), found[2]))
        imports.setdefault(target, []).extend(names)
    body = IMPORT.sub("", source)
    declared, exported = [], set()
    for found in DECLARATION.finditer(body):
        names = _names(found[2].strip("[]{}"))
        if not names or not all(map(NAME.fullmatch, names)):
            raise ScriptError(f"{path}: '{found[0]}': only plain names can be declared at the top level")
        declared += names
        if found[1]:
            exported.update(names)
    text = EXPORT.sub("", body)
    if other := OTHER_FORM.search(COMMENT.sub("", text)):
        raise ScriptError(f"{path}: '{other[0].strip()}': this form of import or export cannot be joined")
    return Module(text, imports, declared, exported)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
