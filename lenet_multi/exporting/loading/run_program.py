"""Run the network of an exported program, then one epoch of its training loop, without starting the program itself.

    python run_program.py FILE INPUTS OUTPUTS FOLDER LR BATCH_SIZE SEED IMAGES LAYERS ARRAY

FOLDER holds the program's data. IMAGES, LAYERS and ARRAY are expressions in the names of the program: for images `X` as
its network takes them, for the layers of the network, and for an output `x` as a NumPy array. OUTPUTS then holds the
`shapes` of the outputs of all layers in the order of the program, one in each row, padded with zeros; the `logits`; the
`loss` of the epoch; and `trained_logits`, those after the epoch.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

file, inputs, outputs, folder, lr, batch_size, seed, images, layers, array = sys.argv[1:]
program: dict[str, Any] = {"__name__": "program", "__file__": file}
exec(compile(Path(file).read_text(encoding="utf-8"), file, "exec"), program)
net, X = program["net"], eval(images, program, {"X": np.load(inputs)})


def run_layers(x):
    """The shape of each layer's output, and the output of the last."""
    shapes = []
    for layer in eval(layers, program):
        x = layer(x)
        shapes.append([*x.shape, 0, 0][:4])
    return shapes, eval(array, program, {"x": x})


shapes, logits = run_layers(X)
program["test_fraction"] = 0.5  # FOLDER has few pictures
load_data = program.get("load_data", program["read_data"])  # Gluon's `batches` takes NumPy arrays
train_data, test_data = load_data(Path(folder))
(loss,) = program["train"](net, train_data, test_data, 1, float(lr), int(batch_size), int(seed))
np.savez(outputs, shapes=shapes, logits=logits, loss=loss, trained_logits=run_layers(X)[1])
