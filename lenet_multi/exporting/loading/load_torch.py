"""Run a network that torch.export saved."""

import sys

import numpy as np
import torch

file, inputs, outputs = sys.argv[1:]
net = torch.export.load(file).module()
with torch.no_grad():
    logits = net(torch.from_numpy(np.load(inputs)))
np.savez(outputs, logits=logits.numpy())
