"""The number of conv1 in channel 1, row 15 and column 15 (counted from 1) for the first test image."""

import numpy as np
from safetensors.numpy import load_file

from lenet_multi import load_dataset

parameters = load_file("runs/first/model.safetensors")
image = load_dataset("auto").test.scaled(0)[0]
window = np.pad(image, 2)[14:19, 14:19].astype(np.float64)
products = window * parameters["conv1.weight"][0, 0]
total = products.sum() + parameters["conv1.bias"][0]
print(f"sum {total:.4f}, after the sigmoid {1 / (1 + np.exp(-total)):.4f}")
