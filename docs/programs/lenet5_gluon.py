"""LeNet-5 in Gluon."""

from mxnet import init, npx
from mxnet.gluon import nn

npx.set_np()  # arrays as in NumPy

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
# Xavier-uniform weights; biases are zero whatever the initializer given here.
net.initialize(init.Xavier())
