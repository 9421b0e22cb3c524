"""Write a page on which trained networks react to what you draw, layer by layer.

    python -m lenet_multi.playground --weights runs/first --out play.html
    python -m lenet_multi.playground --weights runs/torch runs/mxnet --out play.html

The page is one file. Open it in a browser; it needs no network and no other file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lenet_multi.interactive.page import page, require_page_path
from lenet_multi.interactive.page_data import page_data
from lenet_multi.interactive.shown_runs import load_runs
from lenet_multi.interactive.texts import page_texts
from lenet_multi.runs.options import add_data_options, add_network_options, weights_path
from lenet_multi.system.atomic_files import write_atomically
from lenet_multi.system.command import run_command
from lenet_multi.system.option_parser import Parser, path_argument
from lenet_multi.system.stderr import say


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m lenet_multi.playground",
        description="Write a page on which trained networks react to what you draw, layer by layer.",
    )
    parser.add_argument(
        "--weights",
        type=weights_path,
        nargs="+",
        required=True,
        metavar="RUN",
        help="the networks: files of parameters, or folders of runs; they take images of one size and know the same "
        "classes",
    )
    parser.add_argument(
        "--out", type=path_argument, required=True, metavar="FILE", help="write the page to this file (.html)"
    )
    parser.add_argument(
        "--texts",
        type=path_argument,
        metavar="FILE",
        help="the texts of the page in another language: a translated copy of interactive/web/texts.json",
    )
    add_data_options(parser)
    add_network_options(parser)
    return parser


def command(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    require_page_path(args.out)
    texts = page_texts(args.texts)
    content = page(page_data(load_runs(args), texts)).encode()
    write_atomically(args.out, content)
    say(f"'{args.out}' has {len(content) / 1e6:.1f} MB: open it in a browser")


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
