"""Run a network that Gluon exported as a symbol and its parameters."""

import sys

import numpy

if "bool" not in vars(numpy):  # NumPy 1.24 removed this name, which MXNet 1.9.1 reads
    numpy.bool = numpy.bool_

from mxnet import np, npx
from mxnet.gluon import SymbolBlock

npx.set_np()

file, inputs, outputs = sys.argv[1:]
parameters = file.removesuffix("-symbol.json") + "-0000.params"
net = SymbolBlock.imports(file, ["data"], parameters)
logits = net(np.array(numpy.load(inputs)))
numpy.savez(outputs, logits=logits.asnumpy())
