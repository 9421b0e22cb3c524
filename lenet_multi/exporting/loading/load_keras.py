"""Run a network that Keras saved."""

import sys

import keras
import numpy as np

file, inputs, outputs = sys.argv[1:]
net = keras.saving.load_model(file)
X = np.load(inputs).transpose(0, 2, 3, 1)  # Keras takes the channels last
np.savez(outputs, logits=np.asarray(net(X)))
