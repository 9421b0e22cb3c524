"""LeNet-5 in Gluon."""

import numpy

if "bool" not in vars(numpy):  # NumPy 1.24 removed this name, which MXNet 1.9.1 reads
    numpy.bool = numpy.bool_

from mxnet import init, npx
from mxnet.gluon import nn

npx.set_np()  # use NumPy's array semantics

net = nn.HybridSequential()
net.add(
    nn.Conv2D(6, kernel_size=5, padding=2, activation="sigmoid"),
    nn.AvgPool2D(pool_size=2, strides=2),
    nn.Conv2D(16, kernel_size=5, activation="sigmoid"),
    nn.AvgPool2D(pool_size=2, strides=2),
    nn.Flatten(),
    nn.Dense(120, activation="sigmoid"),
    nn.Dense(84, activation="sigmoid"),
    nn.Dense(10),
)
# Xavier-uniform weights. Biases are zero by default and ignore this initializer.
net.initialize(init.Xavier())
