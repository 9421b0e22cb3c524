"""Parses `--vary` and `--backends`: which settings and frameworks a comparison compares."""

from __future__ import annotations

from collections.abc import Sequence

from lenet_multi.backends import choose_backends, default_backend
from lenet_multi.comparison.plan import OPTIONS, VaryGroup
from lenet_multi.errors import UserError
from lenet_multi.runs.options import DATA_OPTIONS

NOT_VARIED = tuple(option.name for option in DATA_OPTIONS)  # all networks of a comparison are tested on the same data


def parse_vary(groups: Sequence[Sequence[str]]) -> list[VaryGroup]:
    """`[["pooling=avg,max"]]` as [{"pooling": ["avg", "max"]}]; slashes separate values that may hold commas.

    Args:
        groups: for each `--vary`, the settings that vary together.

    Raises:
        UserError: unknown option, repeated option, fewer than two values, or a different number of values than in the
            rest of the group.
    """
    vary: list[VaryGroup] = []
    for texts in groups:
        group: VaryGroup = {}
        for text in texts:
            name, values = _parse_setting(text)
            if any(name in earlier for earlier in (*vary, group)):
                raise UserError(f"--vary {name} is given twice: list all its values at once")
            group[name] = values
        first, *others = group
        odd = next((name for name in others if len(group[name]) != len(group[first])), None)
        if odd:
            raise UserError(
                f"--vary '{' '.join(texts)}' has {len(group[first])} values of {first} but {len(group[odd])} of {odd}: "
                "list equally many, or use a separate --vary for each to run every combination"
            )
        vary.append(group)
    return vary


def _parse_setting(text: str) -> tuple[str, list[str]]:
    """The option's name and its values."""
    name, equals, values = text.partition("=")
    name = name.lstrip("-").replace("_", "-")
    if name in ("backend", "backends"):
        raise UserError(f"--vary '{text}': to compare frameworks, pass --backends {values or 'A,B'}")
    names = [option for option in OPTIONS if option not in NOT_VARIED]
    if name not in names:
        raise UserError(f"--vary '{text}': '{name}' cannot vary: choose one of {', '.join(names)}")
    if not equals:
        raise UserError(f"--vary '{text}' has no values: pass {name}=A,B")
    separator = OPTIONS[name].separator
    if separator not in values:
        raise UserError(
            f"--vary '{text}' needs at least two values, separated by '{separator}': to use one value in all runs, "
            f"pass --{name} {values}".rstrip()
        )
    return name, values.split(separator)


def parse_backends(text: str | None, vary: Sequence[VaryGroup]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The backends to compare and those that `all` leaves out, as `choose_backends`.

    None means `all`, or the default backend if a setting varies.
    """
    if text is None:
        text = default_backend() if vary else "all"
    return choose_backends(text)
