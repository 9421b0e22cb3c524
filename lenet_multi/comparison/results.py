"""The runs of a comparison side by side: table, notes, figure and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet_multi.backends import BACKENDS
from lenet_multi.comparison.findings import EXAMINED, Findings
from lenet_multi.comparison.plan import Plan, RunSpec
from lenet_multi.runs.checkpoint import Run
from lenet_multi.runs.outputs import summary
from lenet_multi.training.chance_loss import chance_loss, is_chance_loss
from lenet_multi.training.curves import draw_overlaid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Column title to a value of the run's summary and its format.
COLUMNS = {
    "loss": ("loss", "{:z.3f}"),  # z: rounding can make a loss of 0 negative
    "train acc": ("train_acc", "{:.3f}"),
    "test acc": ("test_acc", "{:.3f}"),
    "loop": ("loop", "{}"),
    "examples/s": ("examples_per_sec", "{:.1f}"),
    "wall time": ("wall_seconds", "{:.1f} s"),
    "start-up": ("startup_seconds", "{:.1f} s"),
    "peak memory": ("peak_rss_mb", "{:.0f} MB"),
}
SHARED_COLUMNS = ("examples/s", "wall time", "start-up")  # what other runs on the machine change
SHARED_MARK = "*"
NAMED = 3  # runs that a note about many runs names


@dataclass(frozen=True)
class RunResult:
    """The outcome of a run: the complete run, or the reason why it failed; neither of them before it starts."""

    spec: RunSpec
    run: Run | None = None
    reason: str | None = None

    @property
    def is_shared(self) -> bool:
        """Whether its figures of speed are those of a machine that trained other runs at the same time."""
        return self.run is not None and self.run.segments[-1].is_shared

    @property
    def cells(self) -> list[str]:
        """The text of each of `COLUMNS`; empty for a run that failed. Speed on a shared machine is marked."""
        if self.run is None:
            return []
        values = summary(self.run)
        return [
            ("unknown" if values[name] is None else text.format(values[name]))
            + SHARED_MARK * (self.is_shared and title in SHARED_COLUMNS)
            for title, (name, text) in COLUMNS.items()
        ]

    @property
    def values(self) -> list[str | float | None]:
        """The value of each of `COLUMNS`, by which the report sorts; empty for a run that failed."""
        values = summary(self.run) if self.run else {}
        return [values[name] for name, _ in COLUMNS.values()] if values else []

    def as_json(self) -> dict[str, Any]:
        state = "failed" if self.reason else "done" if self.run else "waiting"
        return {
            **asdict(self.spec),
            "folder": self.spec.folder,
            "state": state,
            "reason": self.reason,
            "shared": self.is_shared,
            "summary": summary(self.run) if self.run else None,
        }


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    Args:
        out: its folder.
        plan: what was compared.
        results: a result per run, in the order of the plan.
        findings: the findings about the networks of the complete runs.
        machine: processor and versions, in words.
    """

    out: Path
    plan: Plan
    results: list[RunResult]
    findings: Findings
    machine: str

    @property
    def failed(self) -> bool:
        """Whether a run failed, or the frameworks differ."""
        return any(result.reason for result in self.results) or bool(self.findings.differences)

    @property
    def columns(self) -> list[str]:
        return list(COLUMNS)

    @property
    def dataset_name(self) -> str:
        """The name of the data set; for a folder, the last part of its path."""
        return Path(self.findings.dataset.name).name

    @property
    def shared(self) -> dict[str, Any]:
        """The settings that all complete runs share."""
        runs = [result.run for result in self.results if result.run]
        described = [
            {"network": f"{run.architecture.name}, {run.architecture.num_parameters:,} parameters"}
            | {name.replace("_", " "): value for name, value in asdict(run.settings).items() if name != "data_sha256"}
            | {"dataset": self.dataset_name, "device": run.segments[-1].device, "loop": run.segments[-1].loop}
            for run in runs
        ]
        first = described[0] if described else {}
        present = {name: value for name, value in first.items() if value is not None}
        return {name: value for name, value in present.items() if all(other[name] == value for other in described)}

    @property
    def notes(self) -> list[str]:
        """Sentences that a reader of the table needs."""
        notes = []
        if self.findings.dataset.name == "synthetic":
            notes.append("these figures are for `synthetic`, images drawn by code, and NOT for Fashion-MNIST")
        if self.plan.same_start:
            notes.append("all runs started from the same weights")
        notes += self._notes_of_machines()
        if self.findings.choice:
            notes.append(f"shapes, parity checks, mistakes and disagreements are those of {self.findings.choice}")
        of_runs: list[tuple[str, str]] = []
        for result in self.results:
            if not result.run:
                continue
            name, segments, loss = result.spec.name, result.run.segments, result.run.points[-1].train_loss
            num_classes = result.run.architecture.num_classes
            if is_chance_loss(loss, num_classes, result.run.epochs_done, result.run.settings.num_train):
                chance = f"the chance loss of {chance_loss(num_classes):.3f}"
                of_runs.append((name, f"has learned nothing: its loss is still about {chance}"))
            if len(segments) > 1:
                told = f"was trained by {len(segments)} processes: time, speed and memory are those of the last"
                of_runs.append((name, told))
            if self.plan.requested_loop(result.spec) == "fast" and segments[-1].loop == "plain":
                framework = BACKENDS[result.spec.backend]
                of_runs.append((name, f"ran the plain loop: {framework} has no fast loop for this network and device"))
        return notes + _notes_of_runs(of_runs)

    def _notes_of_machines(self) -> list[str]:
        """What the figures of speed were measured on, if that is not this machine with one run at a time."""
        segments = [result.run.segments[-1] for result in self.results if result.run]
        notes = []
        if at_a_time := sorted({segment.jobs for segment in segments if segment.is_shared}):
            counts = " or ".join(map(str, at_a_time))
            notes.append(
                f"{SHARED_MARK} measured on a shared machine, with up to {counts} runs at a time: compare these speeds "
                "with each other only"
            )
        if nodes := sorted({segment.node for segment in segments if segment.node}):
            count = sum(bool(segment.node) for segment in segments)
            runs = "all runs" if count == len(self.results) else f"{count} of {len(self.results)} runs"
            notes.append(f"{runs} were trained on nodes of a Ray cluster ({', '.join(nodes)})")
        return notes

    def table(self) -> str:
        """The results as text, then the notes, the machine with its versions, and the outcome of the parity checks."""
        names = ["", *(result.spec.name for result in self.results)]
        width = max(map(len, names))
        columns = [
            [title, *(result.cells[i] for result in self.results if result.run)] for i, title in enumerate(COLUMNS)
        ]
        widths = [max(map(len, column)) for column in columns]

        def line(name: str, cells: Sequence[str]) -> str:
            return "  ".join([name.ljust(width), *(text.rjust(w) for text, w in zip(cells, widths, strict=True))])

        lines = [line("", self.columns)]
        for result in self.results:
            name = result.spec.name
            lines.append(line(name, result.cells) if result.run else f"{name:{width}}  FAILED: {result.reason}")
        lines += [f"note: {note}" for note in self.notes]
        lines += ["", self.machine]
        if self.findings.parity_checks:
            differences = [f"differs: {sentence}" for sentence in self.findings.differences]
            lines += differences or [self.findings.parity_sentence]
        return "\n".join(lines)

    def figure(self) -> Figure:
        """The curves of the examined networks, overlaid."""
        title = f"Curves of {self.findings.choice}" if self.findings.choice else ""
        return draw_overlaid({net.title: net.points for net in self.findings.examined}, title=title)

    def as_json(self) -> dict[str, Any]:
        """Every number, JSON-ready."""
        return {
            "plan": asdict(self.plan),
            "runs": [result.as_json() for result in self.results],
            "machine": self.machine,
            "notes": self.notes,
            "failed": self.failed,
            **self.findings.as_json(),
        }


def _notes_of_runs(told: Sequence[tuple[str, str]]) -> list[str]:
    """A sentence for each run and what is told of it, but one for all runs if more than `EXAMINED` share it."""
    names: dict[str, list[str]] = {}
    for name, text in told:
        names.setdefault(text, []).append(name)
    sentences = []
    for name, text in told:
        count, first = len(names[text]), ", ".join(names[text][:NAMED])
        sentences.append(f"each of {count:,} runs ({first}, ...) {text}" if count > EXAMINED else f"{name} {text}")
    return list(dict.fromkeys(sentences))
