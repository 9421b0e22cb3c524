"""Run an ONNX file in ONNX Runtime."""

import sys

import numpy as np
import onnxruntime

file, inputs, outputs = sys.argv[1:]
session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
X = np.load(inputs)
(logits,) = session.run(["logits"], {"images": X})

# The outputs of the layers have the layers' names. None asks for all.
names = [output.name for output in session.get_outputs()]
by_name = dict(zip(names, session.run(None, {"images": X}), strict=True))
np.savez(outputs, **(by_name | {"logits": logits}))
