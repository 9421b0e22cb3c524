"""Public networks with random weights, from the packages in requirements.txt."""

import importlib
from typing import Any

import mxnet

from port_collection.frameworks import keras_network, numpy_arrays

NUM_CLASSES = 10
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of ImageNet's pixels between 0 and 1


def torchvision(name: str, **options: Any) -> Any:
    models = importlib.import_module("torchvision.models")
    return getattr(models, name)(weights=None, num_classes=NUM_CLASSES, **options)


def timm(name: str, **options: Any) -> Any:
    return importlib.import_module("timm").create_model(name, num_classes=NUM_CLASSES, **options)


def pytorchcv(name: str, **options: Any) -> Any:
    return importlib.import_module("pytorchcv.model_provider").get_model(name, num_classes=NUM_CLASSES, **options)


def efficientnet_pytorch(name: str) -> Any:
    module = importlib.import_module("efficientnet_pytorch")
    return module.EfficientNet.from_name(name, num_classes=NUM_CLASSES)


def initialized(net: Any, size: int) -> Any:
    """A Gluon network with all parameters: their shapes are known after a first run."""
    with numpy_arrays(False):
        net.initialize()
        net(mxnet.nd.zeros((1, 3, size, size)))
    return net


def gluon(name: str, size: int = 224) -> Any:
    vision = importlib.import_module("mxnet.gluon.model_zoo.vision")
    return initialized(vision.get_model(name, classes=NUM_CLASSES, prefix="net_"), size)


def gluoncv2(name: str, size: int = 224, **options: Any) -> Any:
    provider = importlib.import_module("gluoncv2.model_provider")
    return initialized(provider.get_model(name, classes=NUM_CLASSES, prefix="net_", **options), size)


def applications(name: str, size: int, **options: Any) -> Any:
    """A model of keras.applications; its classifier returns logits unless `options` say something else."""
    models = importlib.import_module("keras.applications")
    chosen = {"classifier_activation": None, **options}
    return keras_network(
        lambda: getattr(models, name)(weights=None, input_shape=(size, size, 3), classes=NUM_CLASSES, **chosen)
    )


def efficientnet_b0(size: int) -> Any:
    """Keras's EfficientNetB0 with the statistics of ImageNet in its `Normalization`, for pixels from 0 to 255."""
    models = importlib.import_module("keras.applications")

    def build() -> Any:
        net = models.EfficientNetB0(
            weights=None, input_shape=(size, size, 3), classes=NUM_CLASSES, classifier_activation=None
        )
        layer = next(layer for layer in net.layers if layer.name.startswith("normalization"))
        layer.adapt_mean.assign(MEAN)
        layer.adapt_variance.assign([deviation**2 for deviation in DEVIATION])
        layer.finalize_state()
        return net

    return keras_network(build)


def kimm(name: str, size: int) -> Any:
    models = importlib.import_module("kimm").models
    return keras_network(
        lambda: getattr(models, name)(
            weights=None,
            input_shape=(size, size, 3),
            classes=NUM_CLASSES,
            classifier_activation=None,
            include_preprocessing=False,
        )
    )


def kecam(family: str, name: str, size: int) -> Any:
    module = importlib.import_module(f"keras_cv_attention_models.{family}")
    return keras_network(
        lambda: getattr(module, name)(
            input_shape=(size, size, 3), pretrained=None, num_classes=NUM_CLASSES, classifier_activation=None
        )
    )
