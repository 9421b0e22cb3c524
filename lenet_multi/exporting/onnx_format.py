"""ONNX: the graph is made from the description, with the outputs of the layers beside the logits.

The canonical weights are those that ONNX takes: `Conv` (out, in, height, width), and `Gemm` with `transB` (out, in).
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lenet_multi.architecture import Architecture, Conv, Dense, Flatten, Layer, Pool
from lenet_multi.errors import UserError
from lenet_multi.runs.weights import Parameters

OPSET, IR_VERSION = 17, 8  # of ONNX 1.12, from 2022, which every current runtime reads
MAX_BYTES = 2**31 - 2**24  # protobuf, the encoding of the file, holds less than 2 GiB: 16 MiB are for the graph
ACTIVATIONS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}
POOLINGS = {"avg": "AveragePool", "max": "MaxPool"}


def require_packages() -> None:
    """Check that the packages of this format are installed.

    Raises:
        UserError: if one is not.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as problem:
        raise UserError(f'the onnx format needs {problem.name}: pip install "lenet-multi[onnx]"') from problem


def write(architecture: Architecture, parameters: Parameters, path: Path) -> None:
    """Write a network as an ONNX file.

    Its input is `images`, (N, C, H, W) in [0, 1]; its outputs are `logits` and, by their names, those of all layers.

    Raises:
        UserError: if the format cannot hold as many parameters.
    """
    import onnx

    if (size := 4 * architecture.num_parameters) > MAX_BYTES:
        raise UserError(f"the network has {size:,} bytes of parameters, expected at most {MAX_BYTES:,} in an ONNX file")
    model = onnx.helper.make_model(
        _graph(architecture, parameters),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lenet_multi",
        producer_version=version("lenet-multi"),
    )
    onnx.helper.set_model_props(model, {"architecture": json.dumps(architecture.to_dict())})
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def _graph(architecture: Architecture, parameters: Parameters) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    nodes, last = [], "images"
    for name, layer in architecture.named_layers.items():
        activation = getattr(layer, "activation", None)
        operation, weights, attributes = _operation(name, layer)
        linear = f"{name}_linear" if activation else name  # as in the description, the activation is part of the layer
        nodes.append(helper.make_node(operation, [last, *weights], [linear], name=linear, **attributes))
        if activation:
            nodes.append(helper.make_node(ACTIVATIONS[activation], [linear], [name], name=name))
        last = name
    nodes.append(helper.make_node("Identity", [last], ["logits"], name="logits"))

    def tensor(name: str, shape: tuple[int, ...]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])

    shapes = architecture.output_shapes
    return helper.make_graph(
        nodes,
        architecture.name,
        inputs=[tensor("images", architecture.input_shape)],
        outputs=[tensor("logits", shapes[last]), *(tensor(name, shape) for name, shape in shapes.items())],
        initializer=[numpy_helper.from_array(value, name) for name, value in parameters.items()],
    )


def _operation(name: str, layer: Layer) -> tuple[str, list[str], dict[str, Any]]:
    """The ONNX operator of a layer without its activation, the names of its weights, and its attributes."""
    weights = [f"{name}.weight", f"{name}.bias"]
    match layer:
        case Conv(_, k, padding):
            return "Conv", weights, {"kernel_shape": [k, k], "pads": [padding] * 4}
        case Pool(kind, k, stride):
            return POOLINGS[kind], [], {"kernel_shape": [k, k], "strides": [stride, stride]}
        case Flatten():
            return "Flatten", [], {"axis": 1}
        case Dense():
            return "Gemm", weights, {"transB": 1}
