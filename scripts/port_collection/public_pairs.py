"""Right ports between public packages: networks that nobody here wrote."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from port_collection import zoo
from port_collection.case import Case, Networks
from port_collection.frameworks import check_agree
from port_collection.moving import move, randomise

Build = Callable[[], Any]


def images(size: int, batch: int, pixels: bool = False) -> np.ndarray:
    """Normalised images, or pixels between 0 and 255; shape (batch, 3, size, size)."""
    rng, shape = np.random.default_rng(0), (batch, 3, size, size)
    return (rng.uniform(0, 255, shape) if pixels else rng.normal(0, 1, shape)).astype(np.float32)


def public(
    reference: Build,
    port: Build,
    size: int,
    batch: int = 2,
    port_is_source: bool = False,
    bias: float = 0.1,
    unit_gamma: bool = False,
    exactly: bool = True,
    pixels: bool = False,
) -> Networks:
    """Build a reference and a port of it, and check that they agree.

    Args:
        size: height and width of the images.
        port_is_source: whether the port's parameters are moved to the reference: only the other network may lack some.
        bias: 0 if one network has no biases where the other has some.
        unit_gamma: whether all gammas are 1, as one network has none.
        exactly: as in `check_agree`.
        pixels: whether the images are not normalised.
    """
    networks, X = (reference(), port()), images(size, batch, pixels)
    source, target = networks[::-1] if port_is_source else networks
    randomise(source, X, bias=bias, unit_gamma=unit_gamma)
    move(source, target, X)
    check_agree(*networks, X, exactly)
    return *networks, X


class Preprocessed(torch.nn.Module):
    """A classifier behind the preprocessing that Keras's EfficientNet contains: X / 255, then by mean and deviation."""

    def __init__(self, net: Any):
        super().__init__()
        self.net = net
        for name, values in (("mean", zoo.MEAN), ("std", zoo.DEVIATION)):
            self.register_buffer(name, torch.tensor(values).reshape(3, 1, 1))

    def forward(self, x: Any) -> Any:
        return self.net((x / 255 - self.mean) / self.std)


def behind_norm(net: Any) -> Any:
    """A classifier behind a norm without parameters, as in Gluon's ResNet v2."""
    return torch.nn.Sequential(torch.nn.BatchNorm2d(3, affine=False), net)


def same_author(name: str, size: int = 224, batch: int = 1, from_gluon: bool = False, **options: Any) -> Case:
    """pytorchcv and gluoncv2 have the same networks."""

    def build() -> Networks:
        torch_net, gluon_net = (lambda: zoo.pytorchcv(name)), (lambda: zoo.gluoncv2(name, size))
        if from_gluon:
            return public(gluon_net, torch_net, size, batch, **options)
        return public(torch_net, gluon_net, size, batch, **options)

    short = ("gluoncv2", "pytorchcv") if from_gluon else ("pytorchcv", "gluoncv2")
    return Case(f"{short[0]} {name} -> {short[1]}", "pair", build)


def pair(name: str, reference: Build, port: Build, size: int = 64, batch: int = 2, **options: Any) -> Case:
    return Case(name, "pair", lambda: public(reference, port, size, batch, **options))


SAME_AUTHOR = (
    same_author("seresnet18"),
    same_author("preresnet18", from_gluon=True),
    same_author("efficientnet_b0"),
    same_author("igcv3_w1"),
    same_author("shufflenet_g3_w1", from_gluon=True),
    same_author("shufflenetv2_w1"),
    same_author("darknet53", from_gluon=True),
    same_author("darknet_tiny"),
    same_author("regnetx002", from_gluon=True),
    same_author("sqnxt23_w1"),
    same_author("bninception", from_gluon=True),
    same_author("mobilenetv3_small_w1"),
    same_author("resnext14_32x4d"),
    same_author("peleenet", from_gluon=True),
    same_author("nin_cifar10", 32, 2),
    same_author("densenet40_k12_bc_cifar10", 32, 2, from_gluon=True),
    same_author("preresnet20_cifar10", 32, 2),
    same_author("vovnet27s"),
    same_author("ghostnet", from_gluon=True),
    same_author("squeezeresnet_v1_1"),
    same_author("ibn_resnet50", exactly=False),
    same_author("menet108_8x1_g3"),
    same_author("selecsls42b", from_gluon=True),
    same_author("mnasnet_small"),
    same_author("dla34"),
)
GLUON_ZOO = (
    pair("torchvision resnet18 -> gluon", lambda: zoo.torchvision("resnet18"), lambda: zoo.gluon("resnet18_v1", 64)),
    pair(
        "pytorchcv resnet50 -> gluon resnet50_v1",
        lambda: zoo.pytorchcv("resnet50"),
        lambda: zoo.gluon("resnet50_v1"),
        size=224,
        batch=1,
    ),
    pair(
        "gluon resnet18_v2 -> pytorchcv preresnet18",
        lambda: zoo.gluon("resnet18_v2"),
        lambda: behind_norm(zoo.pytorchcv("preresnet18")),
        size=224,
        batch=1,
    ),
    pair(
        "torchvision vgg11_bn -> gluon",
        lambda: zoo.torchvision("vgg11_bn"),
        lambda: zoo.gluon("vgg11_bn"),
        size=224,
        batch=1,
        exactly=False,
    ),
    pair(
        "gluon alexnet -> torchvision",
        lambda: zoo.gluon("alexnet"),
        lambda: zoo.torchvision("alexnet"),
        size=224,
        exactly=False,
    ),
    pair(
        "torchvision squeezenet1_1 -> gluon",
        lambda: zoo.torchvision("squeezenet1_1"),
        lambda: zoo.gluon("squeezenet1.1"),
        size=224,
    ),
    pair(
        "gluon densenet121 -> torchvision",
        lambda: zoo.gluon("densenet121"),
        lambda: zoo.torchvision("densenet121"),
        size=224,
        batch=1,
    ),
    pair(
        "gluon mobilenetv2_1.0 -> pytorchcv mobilenetv2_w1",
        lambda: zoo.gluon("mobilenetv2_1.0"),
        lambda: zoo.pytorchcv("mobilenetv2_w1"),
        size=224,
        batch=1,
        bias=0,
    ),
    pair(
        "gluon mobilenet1.0 -> pytorchcv mobilenet_w1",
        lambda: zoo.gluon("mobilenet1.0"),
        lambda: zoo.pytorchcv("mobilenet_w1"),
        size=224,
        batch=1,
    ),
    pair(
        "torchvision inception_v3 -> gluon inceptionv3",
        lambda: zoo.torchvision("inception_v3", aux_logits=False, init_weights=False),
        lambda: zoo.gluon("inceptionv3", 299),
        size=299,
        batch=1,
    ),
    pair(
        "torchvision resnext50_32x4d -> gluoncv2",
        lambda: zoo.torchvision("resnext50_32x4d"),
        lambda: zoo.gluoncv2("resnext50_32x4d"),
        size=224,
        batch=1,
    ),
    pair(
        "torchvision mobilenet_v2 -> gluoncv2 mobilenetv2b_w1",
        lambda: zoo.torchvision("mobilenet_v2"),
        lambda: zoo.gluoncv2("mobilenetv2b_w1"),
        bias=0,
        size=224,
        batch=1,
    ),
    pair(
        "gluon vgg16 -> keras.applications VGG16",
        lambda: zoo.gluon("vgg16", 64),
        lambda: zoo.applications("VGG16", 64),
    ),
    pair("gluon resnet18_v1 -> kimm ResNet18", lambda: zoo.gluon("resnet18_v1", 64), lambda: zoo.kimm("ResNet18", 64)),
    pair(
        "keras.applications DenseNet121 -> gluon densenet121",
        lambda: zoo.applications("DenseNet121", 224),
        lambda: zoo.gluon("densenet121"),
        size=224,
        batch=1,
        port_is_source=True,
    ),
    pair(
        "kimm RegNetX002 -> gluoncv2 regnetx002",
        lambda: zoo.kimm("RegNetX002", 224),
        lambda: zoo.gluoncv2("regnetx002"),
        size=224,
        batch=1,
        port_is_source=True,
    ),
)
