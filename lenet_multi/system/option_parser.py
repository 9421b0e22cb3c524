"""Option parsing: a parser with one-line errors, options as data, and types for their values."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from lenet_multi.errors import UserError


class HelpFormatter(argparse.HelpFormatter):
    """Shows the words of a `Joined` option once: `--image-size H W`, not `H [W ...]`."""

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        if isinstance(action, Joined) and isinstance(action.metavar, tuple):
            return " ".join(action.metavar)
        return super()._format_args(action, default_metavar)


class Parser(argparse.ArgumentParser):
    """An argument parser that raises a one-line `UserError` instead of printing the usage and exiting."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False, formatter_class=HelpFormatter)

    def error(self, message: str) -> NoReturn:
        _, unknown, given = message.partition("unrecognized arguments:")
        option = given.strip().partition(" ")[0].partition("=")[0]
        near = difflib.get_close_matches(option, self._option_string_actions, n=1, cutoff=0.8) if unknown else []
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(f"{' '.join(message.split())}{hint}: see {self.prog} --help")


class Joined(argparse.Action):
    """Takes words as one value with commas between them: `32 48` as `32,48`."""

    def __init__(self, value_type: Callable[[str], Any], **named: Any) -> None:
        super().__init__(nargs="+", **named)
        self.value_type = value_type

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, words: Any, _: Any = None
    ) -> None:
        try:
            setattr(namespace, self.dest, self.value_type(",".join(words)))
        except argparse.ArgumentTypeError as problem:
            raise argparse.ArgumentError(self, str(problem)) from None


@dataclass(frozen=True)
class Option:
    """An option of a command, as data: several commands can share it, list it, or read its value as text.

    Args:
        name: without dashes, as in `batch-size`.
        help: one line.
        type: converts the text of the value; raises `argparse.ArgumentTypeError`.
        metavar: the placeholder for the value in the help.
        choices: the allowed values.
        default: the value when the option is absent.
        other_names: further names, without dashes.
        is_joined: whether the value may be given as several words, `32 48` for `32,48`.
    """

    name: str
    help: str
    type: Callable[[str], Any] = str
    metavar: str | None = None
    choices: tuple[Any, ...] | None = None
    default: Any = None
    other_names: tuple[str, ...] = ()
    is_joined: bool = False

    @property
    def dest(self) -> str:
        """The attribute that holds the value after parsing: `batch_size`."""
        return self.name.replace("-", "_")

    @property
    def separator(self) -> str:
        """Separates the values in a list of several: a comma, or a slash where one value may hold commas."""
        return "/" if self.metavar and "," in self.metavar else ","

    def as_text(self) -> Option:
        """The same option with an unchecked value, for a command that passes the value on to another command."""
        metavar = self.metavar or (f"{{{','.join(map(str, self.choices))}}}" if self.choices else None)
        return replace(self, type=str, metavar=metavar, choices=None, default=None)

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        converted: dict[str, Any] = {"type": self.type, "metavar": self.metavar}
        if self.is_joined:
            words = tuple((self.metavar or self.name).split(","))
            converted = {"action": Joined, "value_type": self.type, "metavar": words}
        parser.add_argument(
            *(f"--{name}" for name in (self.name, *self.other_names)),
            **converted,
            dest=self.dest,
            help=self.help,
            choices=self.choices,
            default=self.default,
        )


def add_options(parser: argparse._ActionsContainer, options: Iterable[Option]) -> None:
    """Add each option to a parser, or to a group of its options."""
    for option in options:
        option.add_to(parser)


def option_words(name: str, value: object) -> list[str]:
    """An option and its value as words of a command line. A value with a leading dash would be taken for an option."""
    text = str(value)
    return [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]


def positive_int(text: str, most: int = 2**32 - 1) -> int:
    """A whole number of at least 1, and not more than a run can hold."""
    return _number(text, int, f"a whole number of at least 1 and at most {most}", lambda number: 1 <= number <= most)


def seed_number(text: str) -> int:
    """A seed that every framework accepts."""
    return _number(text, int, "a whole number from 0 to 4294967295", lambda number: 0 <= number < 2**32)


def positive_float(text: str) -> float:
    """A number above 0 in the range of float32."""
    return _number(text, float, "a number above 0 and below 3.4e38", lambda number: 0 < number < 3.4e38)


def _number(text: str, number_type: type, expected: str, is_valid: Callable[[Any], bool]) -> Any:
    try:
        number = number_type(text)
    except ValueError:
        number = None
    if number is None or not is_valid(number):
        raise argparse.ArgumentTypeError(f"invalid value {text!r}, expected {expected}")
    return number


def int_list(text: str) -> tuple[int, ...]:
    """`6,16` as (6, 16)."""
    try:
        return tuple(int(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"invalid value {text!r}, expected whole numbers separated by commas, as in 6,16"
        ) from None


def positive_int_list(text: str) -> tuple[int, ...]:
    """`2,3` as (2, 3)."""
    return tuple(positive_int(part) for part in text.split(","))


def name_list(text: str) -> tuple[str, ...]:
    """`pullover, coat` as (pullover, coat)."""
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"invalid value {text!r}, expected names separated by commas")
    return names


def path_argument(text: str) -> Path:
    """The path of a file or folder."""
    if not text:
        raise argparse.ArgumentTypeError("invalid value '', expected the path of a file or folder")
    return Path(text)


def json_file(text: str) -> Path:
    """The path of a JSON file to write: another ending may be a slip that would replace another file."""
    path = path_argument(text)
    if path.suffix != ".json":
        raise argparse.ArgumentTypeError(f"invalid value {text!r}, expected a name that ends in .json")
    return path
