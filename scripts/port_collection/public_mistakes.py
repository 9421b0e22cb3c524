"""Mistakes in ports of public networks and of the book's: a right pair, and one thing changed in the port."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch

from port_collection import zoo
from port_collection.book_pairs import BOOK
from port_collection.case import Case
from port_collection.keras_pairs import KERAS, TORCH
from port_collection.planting import gluon_blocks, layer_of, planted_in, reinitialise, twin
from port_collection.public_pairs import GLUON_ZOO, SAME_AUTHOR
from port_collection.slots import Slots, all_slots

PAIRS = {case.name: case for case in (*SAME_AUTHOR, *GLUON_ZOO, *KERAS, *TORCH, *BOOK)}
Edit = Callable[[Any, Any], Any]
PAD, EPSILON, FLATTEN = r"pad|same|border", "eps", "flatten"
ACTIVATION = r"activation|relu|gelu|silu|swish|sigmoid|softmax|operations between"
UNLOADED = r"load|initial|never|copied|(weights|kernels|parameters).{0,40}(differ|other|not (the same|equal|agree))"
STATISTICS = r"statistic|running|moving|mean|variance"
SCALED = r"scal|255|factor|normali|times|preprocess|operations between X"


def mistake(name: str, category: str, pair: str, layers: str, hint: str, edit: Edit) -> Case:
    return planted_in(name, category, PAIRS[pair], layers, hint, edit)


def on_twin(name: str, change: Callable[[Slots], None]) -> Edit:
    """Change the port's counterpart of a layer of the reference."""
    return lambda reference, port: change(twin(reference, port, name))


def stale(slots: Slots) -> None:
    slots.put("mean", np.zeros_like(slots.values["mean"]))
    slots.put("variance", np.ones_like(slots.values["variance"]))


def reverse_groups(slots: Slots) -> None:
    weight = slots.values["weight"]
    slots.put("weight", weight.reshape(32, -1, *weight.shape[1:])[::-1].reshape(weight.shape))


def unpermuted(channels: int, side: int) -> Callable[[Slots], None]:
    """Give a Keras dense layer its weight as if PyTorch's features had been channels last."""

    def change(slots: Slots) -> None:
        weight = slots.values["weight"]
        slots.put("weight", weight.reshape(-1, side, side, channels).transpose(0, 3, 1, 2).reshape(weight.shape))

    return change


def with_states(build: Callable[[], Any], epsilon: float | None = None) -> Edit:
    """Another PyTorch network with the right port's parameters."""

    def edit(_: Any, port: Any) -> Any:
        net = build().eval()
        net.load_state_dict(port.state_dict())
        for module in net.modules():
            if epsilon and isinstance(module, torch.nn.BatchNorm2d):
                module.eps = epsilon
        return net

    return edit


def older_strides(_: Any, net: Any) -> None:
    """The first ResNet: a bottleneck strides in its first convolution, and not in its second."""
    for layer in (net.layer2, net.layer3, net.layer4):
        layer[0].conv1.stride, layer[0].conv2.stride = (2, 2), (1, 1)


def newer_strides(_: Any, net: Any) -> None:
    """ResNet v1.5: the second convolution strides."""
    convs = [slots.layer for slots in all_slots(net) if slots.kind == "conv"]
    for index, conv in enumerate(convs):
        following = convs[index + 1]._kwargs if index + 1 < len(convs) else {"kernel": None}
        if conv._kwargs["stride"] == (2, 2) and following["kernel"] == (3, 3):
            conv._kwargs["stride"], following["stride"] = (1, 1), (2, 2)


def keras_epsilons(_: Any, net: Any) -> None:
    """Keras's default epsilon in all batch norms."""
    for layer in net._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.epsilon = 1e-3


def first_of(kind: str, change: Callable[[Any], None]) -> Edit:
    """Change the first Gluon block whose class has this name."""
    return lambda _, net: change(next(block for block in gluon_blocks(net) if type(block).__name__ == kind))


def set_kwargs(**options: Any) -> Callable[[Any], None]:
    return lambda block: block._kwargs.update(options)


def maximum(_: Any, net: Any) -> None:
    net.features.transition1.pool = torch.nn.MaxPool2d(2, 2)


def softmax_at_the_end(_: Any, net: Any) -> None:
    net.layers[-1].activation = keras.activations.softmax


def narrow_padding(_: Any, net: Any) -> None:
    net.features[0].padding = (1, 1)


def divided(_: Any, net: Any) -> Any:
    """Divides by 255 what the caller divided already."""
    scale = torch.nn.Module()
    scale.forward = lambda x: x / 255
    return torch.nn.Sequential(scale, net).eval()


def swap_norms(reference: Any, port: Any) -> None:
    """Exchange the parameters of two norms of a unit."""
    first, second = (twin(reference, port, f"features.stage1.unit1.body.conv{number}.bn") for number in (1, 2))
    for slot, value in list(first.values.items()):
        old = value.copy()
        first.put(slot, second.values[slot])
        second.put(slot, old)


def half(_: Any, net: Any) -> None:
    net.half().float()


def set_epsilon(value: float) -> Callable[[Slots], None]:
    return lambda slots: setattr(slots.layer, "epsilon", value)


def bgr(slots: Slots) -> None:
    slots.put("weight", slots.values["weight"][:, ::-1])


def without_bias(slots: Slots) -> None:
    slots.put("bias", np.zeros_like(slots.values["bias"]))


MISTAKES = (
    mistake(
        "v1 for v1.5",
        "stride",
        "kimm ResNet50 -> torchvision",
        "layer2_0_conv1_conv2d layer2_0_conv1_bn layer2_0_conv1",
        "strid",
        older_strides,
    ),
    mistake(
        "v1.5 for v1",
        "stride",
        "pytorchcv resnet50 -> gluon resnet50_v1",
        "stage2.unit1.body.conv1.conv stage2.unit1.body.conv1.bn stage2.unit1.body.conv1.activ",
        "strid",
        newer_strides,
    ),
    mistake(
        "PyTorch's padding",
        "padding",
        "keras.applications MobileNet -> timm mobilenetv1_100",
        "conv1 conv1_bn conv1_relu",
        PAD,
        with_states(lambda: zoo.timm("mobilenetv1_100"), 1e-5),
    ),
    mistake(
        "PyTorch's padding",
        "padding",
        "efficientnet_pytorch b0 -> timm tf_efficientnet_b0",
        "_conv_stem _bn0",
        PAD,
        with_states(lambda: zoo.timm("efficientnet_b0"), 1e-3),
    ),
    mistake("padding 1 for 2", "padding", "gluon alexnet -> torchvision", "net_conv0", PAD, narrow_padding),
    mistake(
        "no padding in the average",
        "pooling",
        "torchvision inception_v3 -> gluon inceptionv3",
        "Mixed_5b.branch_pool.conv Mixed_5b.branch_pool.bn",
        "include|count|pad|pool|operations between",
        first_of("AvgPool2D", set_kwargs(count_include_pad=False)),
    ),
    mistake(
        "average for maximum",
        "pooling",
        "pytorchcv nin_cifar10 -> gluoncv2",
        "features.stage2.pool2",
        "average|avg|max",
        first_of("MaxPool2D", set_kwargs(pool_type="avg")),
    ),
    mistake(
        "maximum for average",
        "pooling",
        "torchvision densenet121 -> timm",
        "features.transition1.pool",
        "average|avg|max",
        maximum,
    ),
    mistake(
        "epsilon of one norm",
        "epsilon",
        "torchvision convnext_tiny -> keras.applications ConvNeXtTiny",
        "features.1.0.block.2",
        EPSILON,
        on_twin("features.1.0.block.2", set_epsilon(1e-3)),
    ),
    mistake("epsilon of all norms", "epsilon", "book resnet18: torch -> keras", "1 2", EPSILON, keras_epsilons),
    mistake("epsilon of all norms", "epsilon", "book batch_norm_lenet: torch -> keras", "1 2", EPSILON, keras_epsilons),
    mistake(
        "epsilon of all norms",
        "epsilon",
        "torchvision densenet121 -> keras.applications DenseNet121",
        "features.norm0 features.relu0",
        EPSILON,
        keras_epsilons,
    ),
    mistake(
        "gelu by tanh",
        "activation",
        "torchvision convnext_tiny -> timm",
        "features.1.0.block.3 features.1.0.block.4 features.1.0.block.5",
        f"{ACTIVATION}|tanh",
        with_states(lambda: zoo.timm("convnext_tiny", act_layer="gelu_tanh")),
    ),
    mistake(
        "silu for hard swish",
        "activation",
        "torchvision mobilenet_v3_large -> timm",
        "features.0.1 features.0.2",
        ACTIVATION,
        with_states(lambda: zoo.timm("mobilenetv3_large_100", act_layer="silu"), 1e-3),
    ),
    mistake(
        "slope",
        "activation",
        "pytorchcv darknet_tiny -> gluoncv2",
        "stage1.unit1.conv stage1.unit1.bn stage1.unit1.activ stage1.pool1",
        f"slope|leak|alpha|{ACTIVATION}",
        first_of("LeakyReLU", lambda block: setattr(block, "_alpha", 0.3)),
    ),
    mistake(
        "tanh in a gate",
        "activation",
        "pytorchcv seresnet18 -> gluoncv2",
        "stage1.unit1.se.conv2 stage1.unit1.se.sigmoid stage1.unit1.se",
        f"{ACTIVATION}|tanh",
        lambda _, net: setattr(layer_of(net, "net_stage1_seresunit0_seblock0_sigmoid0"), "_act_type", "tanh"),
    ),
    mistake(
        "softmax too many",
        "output",
        "timm mobilenetv2_100 -> keras.applications MobileNetV2",
        "classifier output",
        "softmax",
        softmax_at_the_end,
    ),
    mistake(
        "flatten order",
        "flatten",
        "gluon vgg16 -> keras.applications VGG16",
        "net_dense0",
        FLATTEN,
        on_twin("net_dense0", unpermuted(512, 2)),
    ),
    mistake("flatten order", "flatten", "book vgg: torch -> keras", "5 6", FLATTEN, on_twin("5", unpermuted(48, 2))),
    mistake("flatten order", "flatten", "book lenet: torch -> keras", "7 8", FLATTEN, on_twin("7", unpermuted(16, 5))),
    mistake(
        "shuffle with one group",
        "branches",
        "pytorchcv menet108_8x1_g3 -> gluoncv2",
        "stage1.unit1.c_shuffle stage1.unit1.dw_conv2 stage1.unit1.compress_bn1",
        "shuffle|order|permut|channel|group",
        first_of("ChannelShuffle", lambda block: setattr(block, "groups", 1)),
    ),
    mistake(
        "shuffle with one group",
        "branches",
        "pytorchcv igcv3_w1 -> gluoncv2",
        "unit1.c_shuffle unit1.conv2.conv unit1.conv1.bn",
        "shuffle|order|permut|channel|group",
        first_of("ChannelShuffle", lambda block: setattr(block, "groups", 1)),
    ),
    mistake(
        "nothing loaded",
        "not loaded",
        "timm regnety_002 -> kimm",
        "stem.conv stem.bn stem.bn.act stem",
        UNLOADED,
        lambda _, net: reinitialise()(net),
    ),
    mistake(
        "a norm's statistics not loaded",
        "norm",
        "torchvision densenet121 -> keras.applications DenseNet121",
        "denseblock2.denselayer3.norm1 denseblock2.denselayer3.relu1",
        STATISTICS,
        on_twin("features.denseblock2.denselayer3.norm1", stale),
    ),
    mistake(
        "a norm's statistics not loaded",
        "norm",
        "torchvision resnet18 -> gluon",
        "layer2.0.bn2 layer2.0.relu layer2.0",
        STATISTICS,
        on_twin("layer2.0.bn2", stale),
    ),
    mistake(
        "two norms swapped",
        "swapped",
        "pytorchcv preresnet20_cifar10 -> gluoncv2",
        "stage1.unit1.body.conv1.bn stage1.unit1.body.conv1.activ",
        "swap|exchang|agree.{0,60}with|belong|weights of|gamma|statistic|mean",
        swap_norms,
    ),
    mistake(
        "first kernel for BGR",
        "layout",
        "timm lcnet_050 -> kimm",
        "conv_stem bn1 bn1.act",
        "RGB|BGR|channel",
        on_twin("conv_stem", bgr),
    ),
    mistake(
        "groups in another order",
        "layout",
        "torchvision resnext50_32x4d -> gluoncv2",
        "layer1.0.conv2 layer1.0.bn2",
        "group|order|permut",
        on_twin("layer1.0.conv2", reverse_groups),
    ),
    mistake(
        "float16 weights",
        "precision",
        "torchvision mobilenet_v3_large -> timm",
        "features.0.0 features.0.1 features.0.2",
        "float16|half|precision|round",
        half,
    ),
    mistake(
        "divided by 255 twice",
        "input",
        "keras.applications EfficientNetB0 -> timm tf_efficientnet_b0",
        "rescaling normalization stem_conv stem_bn stem_conv_pad stem_activation",
        SCALED,
        divided,
    ),
    mistake("bias not loaded", "bias", "book alexnet: torch -> keras", "conv3", "bias", on_twin("conv3", without_bias)),
    mistake(
        "bias not loaded", "bias", "book googlenet: torch -> keras", "8.b2_2", "bias", on_twin("8.b2_2", without_bias)
    ),
)
