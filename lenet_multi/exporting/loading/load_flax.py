"""Run the network of a program in Flax, which starts with the weights in the file beside it."""

import runpy
import sys

import numpy as np

file, inputs, outputs = sys.argv[1:]
net = runpy.run_path(file)["net"]
X = np.load(inputs).transpose(0, 2, 3, 1)  # Flax takes the channels last
np.savez(outputs, logits=np.asarray(net(X)))
