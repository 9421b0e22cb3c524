"""The networks on the page: their files, their titles, and whether one page can show them together."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lenet_multi.backends import BACKENDS
from lenet_multi.errors import UserError
from lenet_multi.interactive.limits import MOST_OF_EPOCHS, MOST_ON_PAGE, require_computable
from lenet_multi.interactive.short_text import short
from lenet_multi.interactive.texts import filled
from lenet_multi.runs.checkpoint import Run
from lenet_multi.runs.kept_epochs import kept_epochs
from lenet_multi.runs.trained_network import TrainedNetwork, load_trained_network
from lenet_multi.runs.weights import CHECKPOINT, Parameters, load_network
from lenet_multi.system.stderr import say

LONGEST_FACTS = 300  # characters


@dataclass(frozen=True)
class ShownRun:
    """A trained network on the page.

    Args:
        path: its file.
        title: short, and another for each.
        trained: the network.
    """

    path: Path
    title: str
    trained: TrainedNetwork

    def facts(self, texts: Mapping[str, str]) -> str:
        """How it was trained, in a few words of the page's texts; empty for a file that does not tell."""
        return facts(self.trained.run, texts) if self.trained.run else ""


def load_runs(args: argparse.Namespace) -> list[ShownRun]:
    """Load the networks of `--weights`.

    Args:
        args: `weights`, a list of files, and the options of `load_trained_network`.

    Raises:
        UserError: when a file cannot be used, a network is too large, or they do not fit each other.
    """
    networks = [load_trained_network(argparse.Namespace(**{**vars(args), "weights": path})) for path in args.weights]
    runs = [
        ShownRun(path, title, trained)
        for path, title, trained in zip(args.weights, titles(args.weights, networks), networks, strict=True)
    ]
    for run in runs:
        require_computable(run.trained.architecture, run.path)
    require_alike(runs)
    total = sum(run.trained.architecture.num_parameters for run in runs)
    if total > MOST_ON_PAGE:
        raise UserError(
            f"the networks have {total:,} parameters, expected at most {MOST_ON_PAGE:,} on a page: choose fewer or "
            "smaller ones"
        )
    return runs


def require_alike(runs: Sequence[ShownRun]) -> None:
    """Check that all networks take the same images and know the same classes.

    Raises:
        UserError: when two do not; it names their files.
    """
    first = runs[0]
    named = next((run for run in runs if run.trained.class_names), first)
    for run in runs[1:]:
        expected, found = first.trained.architecture, run.trained.architecture
        difference = ""
        if found.input_shape != expected.input_shape:
            shapes = [" x ".join(map(str, network.input_shape)) for network in (expected, found)]
            difference = f"takes images of {shapes[0]}, and '{run.path}' of {shapes[1]}"
        elif found.num_classes != expected.num_classes:
            difference = f"has {expected.num_classes} classes, and '{run.path}' {found.num_classes}"
        if difference:
            raise UserError(f"'{first.path}' {difference}: write a page for each")
        names = zip(named.trained.class_names, run.trained.class_names, strict=False)
        for number, (known, own) in enumerate(names):
            if known != own:
                raise UserError(
                    f"'{named.path}' calls class {number} '{short(known)}', and '{run.path}' calls it '{short(own)}': "
                    "write a page for each"
                )


def titles(paths: Sequence[Path], networks: Sequence[TrainedNetwork]) -> list[str]:
    """A title for each network: its frameworks, and the name of its folder or file, longer where that is not enough."""
    frameworks = [_frameworks(network.run) if network.run else "" for network in networks]
    found = [_title(framework, path, 1) for framework, path in zip(frameworks, paths, strict=True)]
    counts = Counter(found)
    longer = [
        title if counts[title] == 1 else _title(framework, path, 2)
        for title, framework, path in zip(found, frameworks, paths, strict=True)
    ]
    return _numbered(longer)


def _frameworks(run: Run) -> str:
    backends = [segment.backend for segment in run.segments] or [run.backend]
    return ", then ".join(dict.fromkeys(BACKENDS[backend] for backend in backends))


def _title(frameworks: str, path: Path, parts: int) -> str:
    place = Path(os.path.abspath(path))  # noqa: PTH100, because `resolve` would follow links to other names
    place = place.parent if place.name == CHECKPOINT else place.with_suffix("")
    name = short("/".join(place.parts[-parts:]))
    return f"{frameworks}: {name}" if frameworks else name


def _numbered(titles: Iterable[str]) -> list[str]:
    """The titles, with a number for each that was there before."""
    found: list[str] = []
    for title in titles:
        number, distinct = 1, title
        while distinct in found:
            number += 1
            distinct = f"{title} ({number})"
        found.append(distinct)
    return found


def facts(run: Run, texts: Mapping[str, str]) -> str:
    """How a run was trained: `PyTorch 2.13.0, 10 epochs on mnist, batches of 256, learning rate 0.9, plain loop`."""
    segments, settings = run.segments, run.settings

    def fact(key: str, /, **values: object) -> str:
        return filled(texts[f"facts.{key}"], **values)

    frameworks = [
        fact("framework", name=BACKENDS[segment.backend], version=segment.framework_version) for segment in segments
    ]
    loops = [segment.loop for segment in segments]
    parts = (
        *dict.fromkeys(short(framework) for framework in frameworks or [BACKENDS[run.backend]]),
        fact(
            "epoch" if run.epochs_done == 1 else "epochs",
            count=run.epochs_done,
            dataset=short(Path(settings.dataset).name),
        ),
        fact("batch", size=settings.batch_size),
        fact("decay" if settings.lr_decay_epoch else "lr", lr=f"{settings.lr:g}", epochs=settings.lr_decay_epoch),
        *(fact(loop) for loop in dict.fromkeys(loops or [run.loop])),
    )
    return short(", ".join(parts), LONGEST_FACTS)


def epochs_of(run: ShownRun, num_runs: int) -> Iterator[tuple[int, Parameters]]:
    """The numbers of the kept epochs of a run, in order, and the parameters after each.

    Where the page cannot hold all, these are evenly spaced ones with the first and the last.

    Args:
        run: the run. A file outside a run's folder has no epochs.
        num_runs: how many networks share the page.

    Raises:
        UserError: when a file is damaged.
    """
    if run.trained.run is None or run.path.name != CHECKPOINT:
        return
    architecture, done = run.trained.architecture, run.trained.run.epochs_done
    # A process that was killed before its checkpoint may have kept an epoch that is not done.
    kept = [(epoch, path) for epoch, path in kept_epochs(run.path.parent).items() if epoch <= done]
    most = MOST_OF_EPOCHS // num_runs // architecture.num_parameters
    if len(kept) > most:
        shown = [round(i * (len(kept) - 1) / (most - 1)) for i in range(most)] if most > 1 else []
        say(f"note: '{run.path.parent}' has {len(kept)} kept epochs: the page shows {len(shown)} of them")
        kept = [kept[i] for i in shown]
    for epoch, path in kept:
        found, parameters, _ = load_network(path, None)
        if found != architecture:
            say(f"warning: '{path}' is of another network than '{run.path}': it is left out")
            continue
        yield epoch, parameters
