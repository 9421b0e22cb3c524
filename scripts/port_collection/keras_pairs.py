"""Right ports between PyTorch's packages and keras.applications, kimm and kecam, and within PyTorch."""

from port_collection import zoo
from port_collection.public_pairs import Preprocessed, pair

KERAS = (
    pair(
        "pytorchcv resnet50 -> keras.applications ResNet50",
        lambda: zoo.pytorchcv("resnet50"),
        lambda: zoo.applications("ResNet50", 224),
        size=224,
        batch=1,
    ),
    pair(
        "torchvision vgg16 -> keras.applications VGG16",
        lambda: zoo.torchvision("vgg16"),
        lambda: zoo.applications("VGG16", 224),
        size=224,
        batch=1,
        exactly=False,
    ),
    pair(
        "keras.applications MobileNet -> timm mobilenetv1_100",
        lambda: zoo.applications("MobileNet", 64),
        lambda: zoo.timm("mobilenetv1_100", pad_type="same"),
        port_is_source=True,
    ),
    pair(
        "timm mobilenetv2_100 -> keras.applications MobileNetV2",
        lambda: zoo.timm("mobilenetv2_100", pad_type="same"),
        lambda: zoo.applications("MobileNetV2", 64),
    ),
    pair(
        "timm tf_mobilenetv3_small_100 -> keras.applications MobileNetV3Small",
        lambda: zoo.timm("tf_mobilenetv3_small_100"),
        lambda: zoo.applications("MobileNetV3Small", 64, include_preprocessing=False),
    ),
    pair(
        "keras.applications EfficientNetB0 -> timm tf_efficientnet_b0",
        lambda: zoo.efficientnet_b0(64),
        lambda: Preprocessed(zoo.timm("tf_efficientnet_b0")),
        port_is_source=True,
        pixels=True,
        exactly=False,
    ),
    pair(
        "efficientnet_pytorch b0 -> timm tf_efficientnet_b0",
        lambda: zoo.efficientnet_pytorch("efficientnet-b0"),
        lambda: zoo.timm("tf_efficientnet_b0"),
    ),
    pair(
        "timm tf_efficientnetv2_b0 -> keras.applications EfficientNetV2B0",
        lambda: zoo.timm("tf_efficientnetv2_b0"),
        lambda: zoo.applications("EfficientNetV2B0", 64, include_preprocessing=False),
    ),
    pair(
        "torchvision densenet121 -> keras.applications DenseNet121",
        lambda: zoo.torchvision("densenet121"),
        lambda: zoo.applications("DenseNet121", 64),
    ),
    pair(
        "keras.applications Xception -> timm legacy_xception",
        lambda: zoo.applications("Xception", 71),
        lambda: zoo.timm("legacy_xception"),
        size=71,
        port_is_source=True,
    ),
    pair(
        "torchvision convnext_tiny -> keras.applications ConvNeXtTiny",
        lambda: zoo.torchvision("convnext_tiny"),
        lambda: zoo.applications("ConvNeXtTiny", 64, include_preprocessing=False),
    ),
    pair("timm regnetx_002 -> kimm", lambda: zoo.timm("regnetx_002"), lambda: zoo.kimm("RegNetX002", 64)),
    pair("timm regnety_002 -> kimm", lambda: zoo.timm("regnety_002"), lambda: zoo.kimm("RegNetY002", 64)),
    pair(
        "kimm ResNet50 -> torchvision",
        lambda: zoo.kimm("ResNet50", 64),
        lambda: zoo.torchvision("resnet50"),
        port_is_source=True,
    ),
    pair("timm lcnet_050 -> kimm", lambda: zoo.timm("lcnet_050"), lambda: zoo.kimm("LCNet050", 64)),
    pair(
        "kimm HGNetV2B0 -> timm hgnetv2_b0",
        lambda: zoo.kimm("HGNetV2B0", 64),
        lambda: zoo.timm("hgnetv2_b0"),
        port_is_source=True,
    ),
    pair("timm convnext_atto -> kimm", lambda: zoo.timm("convnext_atto"), lambda: zoo.kimm("ConvNeXtAtto", 64)),
    pair(
        "timm inception_next_tiny -> kimm",
        lambda: zoo.timm("inception_next_tiny"),
        lambda: zoo.kimm("InceptionNeXtTiny", 64),
    ),
    pair("timm repvgg_a0 -> kimm", lambda: zoo.timm("repvgg_a0"), lambda: zoo.kimm("RepVGGA0", 64)),
    pair("timm densenet121 -> kimm", lambda: zoo.timm("densenet121"), lambda: zoo.kimm("DenseNet121", 64)),
    pair(
        "timm tf_efficientnet_lite0 -> kimm",
        lambda: zoo.timm("tf_efficientnet_lite0"),
        lambda: zoo.kimm("EfficientNetLiteB0", 64),
    ),
    pair("timm ghostnet_100 -> kimm", lambda: zoo.timm("ghostnet_100"), lambda: zoo.kimm("GhostNetW100", 64)),
    pair("timm inception_v3 -> kimm", lambda: zoo.timm("inception_v3"), lambda: zoo.kimm("InceptionV3", 75), size=75),
    pair("timm resnet50d -> kecam", lambda: zoo.timm("resnet50d"), lambda: zoo.kecam("resnet_family", "ResNet50D", 64)),
    pair(
        "kecam ResNeXt50 -> torchvision",
        lambda: zoo.kecam("resnet_family", "ResNeXt50", 64),
        lambda: zoo.torchvision("resnext50_32x4d"),
        port_is_source=True,
    ),
)
TORCH = (
    pair("timm resnet18 -> torchvision", lambda: zoo.timm("resnet18"), lambda: zoo.torchvision("resnet18")),
    pair("torchvision densenet121 -> timm", lambda: zoo.torchvision("densenet121"), lambda: zoo.timm("densenet121")),
    pair(
        "timm efficientnet_b0 -> torchvision",
        lambda: zoo.timm("efficientnet_b0"),
        lambda: zoo.torchvision("efficientnet_b0"),
    ),
    pair(
        "torchvision convnext_tiny -> timm", lambda: zoo.torchvision("convnext_tiny"), lambda: zoo.timm("convnext_tiny")
    ),
    pair(
        "torchvision mobilenet_v3_large -> timm",
        lambda: zoo.torchvision("mobilenet_v3_large"),
        lambda: zoo.timm("mobilenetv3_large_100"),
    ),
    pair(
        "timm regnety_004 -> torchvision regnet_y_400mf",
        lambda: zoo.timm("regnety_004"),
        lambda: zoo.torchvision("regnet_y_400mf"),
    ),
)
