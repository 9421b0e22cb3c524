"""What a run shows: the curves, the progress bar on a terminal, the figure that animates in a notebook."""

import os
import pty
import subprocess
import sys
import termios

import nbclient
import nbformat
import numpy as np
import pytest

from lenet_multi.training.curves import draw_curves
from lenet_multi.training.points import Point
from lenet_multi.training.recorder import DivergenceError, Recorder

POINTS = [Point(0.5, 2.0, 0.2), Point(1.0, 1.5, 0.4, 0.5), Point(1.5, 1.2, 0.5), Point(2.0, 1.0, 0.6, 0.7)]


def test_reports_come_five_times_per_epoch_and_at_its_end():
    assert sorted(Recorder().report_points(235)) == [46, 93, 140, 187, 234]
    assert sorted(Recorder().report_points(3)) == [0, 1, 2]
    assert max(Recorder().report_points(7)) == 6


@pytest.mark.parametrize("num_batches", range(1, 50))
def test_the_last_batch_is_always_reported(num_batches):
    reports = Recorder().report_points(num_batches)
    assert max(reports) == num_batches - 1
    assert len(reports) == min(5, num_batches)


def test_the_figure_shows_the_three_curves_where_they_have_values():
    figure = draw_curves(POINTS, 2, "LeNet")
    lines = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in figure.axes[0].get_lines()}
    assert lines == {
        "train loss": [[0.5, 2.0], [1.0, 1.5], [1.5, 1.2], [2.0, 1.0]],
        "train acc": [[0.5, 0.2], [1.0, 0.4], [1.5, 0.5], [2.0, 0.6]],
        "test acc": [[1.0, 0.5], [2.0, 0.7]],
    }


def test_examples_per_second_leaves_evaluation_out():
    recorder = Recorder()
    recorder.start(num_epochs=2, num_examples=1000)
    recorder.add(1.0, 1.0, 0.5)
    recorder.timer.seconds = 4.0
    recorder.end_epoch(None, 1, 0.5)
    recorder.hide()
    assert recorder.examples_per_sec == 250


def test_a_run_that_goes_on_counts_its_own_examples_alone():
    recorder = Recorder(first_epoch=5)
    recorder.start(num_epochs=6, num_examples=1000)
    recorder.add(6.0, 1.0, 0.5)
    recorder.timer.seconds = 4.0
    recorder.end_epoch(None, 6, 0.5)
    recorder.hide()
    assert recorder.examples_per_sec == 250


def test_drawing_is_not_training():
    recorder = Recorder(show=lambda _: shown.append(recorder.timer.running))
    shown: list[bool] = []
    recorder.start(num_epochs=1, num_examples=10)
    recorder.timer.start()
    recorder.add(1.0, 1.0, 0.5)
    assert shown == [False]
    assert recorder.timer.running
    recorder.hide()


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_refused(loss):
    recorder = Recorder()
    with pytest.raises(DivergenceError, match="in epoch 3: try a smaller --lr"):
        recorder.add(2.4, loss, 0.1)
    assert recorder.points == []


def test_a_terminal_gets_a_progress_bar(small_folder):
    """Standard error is a terminal here; standard output is not, and gets its two lines alone."""
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    command = [sys.executable, "-m", "lenet_multi.train", "--dataset", str(small_folder), "--epochs", "2"]
    process = subprocess.Popen([*command, "--batch-size", "32"], stdout=subprocess.PIPE, stderr=terminal, text=True)
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(controller, 4096)
        except OSError:  # the terminal's other end is closed
            break
        shown += part
    output, _ = process.communicate(timeout=120)
    os.close(controller)
    assert process.returncode == 0, shown
    assert len(output.splitlines()) == 2
    assert b"of 2" in shown
    assert b"train acc" in shown
    assert b"test acc" not in shown  # no line for each epoch


def test_in_a_notebook_one_figure_animates(small_folder):
    code = f"""
from lenet_multi import PRESETS, load_backend, load_dataset
backend, dataset = load_backend("torch"), load_dataset({str(small_folder)!r})
net = backend.LeNet(PRESETS["lenet5"])
recorder = backend.train(net, dataset.train, dataset.test, num_epochs=2, batch_size=32)
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    updates = []

    class Client(nbclient.NotebookClient):
        def process_message(self, message, cell, cell_index):
            updates.append(message["msg_type"])
            return super().process_message(message, cell, cell_index)

    Client(notebook, timeout=120, kernel_name="python3").execute()
    pictures = [output for output in notebook.cells[0].outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 1
    # Five reports and an evaluation in each epoch: the first shows the figure, the others change it.
    assert updates.count("update_display_data") == 11
