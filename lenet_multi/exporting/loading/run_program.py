"""Run the network of an exported program, then one epoch of its training loop, without starting the program itself.

    python run_program.py FILE INPUTS OUTPUTS FOLDER LR BATCH_SIZE SEED

FOLDER holds the program's data. OUTPUTS then holds the `shapes` of the outputs of all layers in the order of the
program, one in each row, padded with zeros; the `logits`; the `loss` of the epoch; and `trained_logits`, those after
the epoch.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

file, inputs, outputs, folder, lr, batch_size, seed = sys.argv[1:]
program: dict[str, Any] = {"__name__": "program", "__file__": file}
exec(compile(Path(file).read_text(encoding="utf-8"), file, "exec"), program)
net, X = program["net"], np.load(inputs)

# PyTorch and Gluon compute on the program's device, and Gluon and Keras take other arrays than NumPy's.
if "torch" in program:
    x, layers, to_numpy = program["torch"].from_numpy(X).to(program["device"]), net, lambda x: x.detach().cpu().numpy()
elif "keras" in program:
    x, layers, to_numpy = X.transpose(0, 2, 3, 1), net.layers, np.asarray
else:
    x, layers, to_numpy = program["np"].array(X, ctx=program["device"]), net, lambda x: x.asnumpy()


def run_layers(x):
    """The shape of each layer's output, and the output of the last."""
    shapes = []
    for layer in layers:
        x = layer(x)
        shapes.append([*x.shape, 0, 0][:4])
    return shapes, to_numpy(x)


shapes, logits = run_layers(x)
program["test_fraction"] = 0.5  # FOLDER has few pictures
load_data = program.get("load_data", program["read_data"])  # Gluon's `batches` takes NumPy arrays
train_data, test_data = load_data(Path(folder))
(loss,) = program["train"](net, train_data, test_data, 1, float(lr), int(batch_size), int(seed))
np.savez(outputs, shapes=shapes, logits=logits, loss=loss, trained_logits=run_layers(x)[1])
