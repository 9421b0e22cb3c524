"""PyTorch modules: their layers' calls, settings and parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from lenet_multi.ports.arrays import as_numpy, find_arrays
from lenet_multi.ports.layer_kinds import kind_of
from lenet_multi.ports.layer_settings import Settings, torch_settings
from lenet_multi.ports.recording import STATISTICS, CallRecorder, LayerCall, Step, Visitor

ValueOf = Callable[[str, Any], Any]  # of a parameter, or what takes its place, by its name in this package
NAMES = {"weight": "weight", "bias": "bias"}
NORM_NAMES = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "variance"}


class TorchNetwork:
    """An adapter for a `torch.nn.Module`."""

    channels_last = False

    def __init__(self, net: Any) -> None:
        # The original of a module from `torch.compile`: only the original calls its children with their hooks.
        self.net = getattr(net, "_orig_mod", net)

    def recorder(self, visitor: Visitor) -> CallRecorder:
        import torch

        return CallRecorder(self, torch.nn, visitor)

    def run(self, inputs: Sequence[np.ndarray], recorder: CallRecorder, training: bool = False) -> Any:
        import torch

        net = self.net
        modules = {module: name.replace("_orig_mod.", "") for name, module in net.named_modules()}
        compiled = [module for module in modules if hasattr(module, "_orig_mod")]
        is_compiled = compiled or any(getattr(module, "_compiled_call_impl", None) for module in modules)
        # A TorchScript module accepts no hooks. It is run like a function.
        names = {
            module: name or type(module).__name__
            for module, name in modules.items()
            if not isinstance(module, torch.jit.ScriptModule) and module not in compiled
        }

        def enter(module: Any, args: Any, kwargs: Any) -> Any:
            return recorder.enter(module, names[module], (args, kwargs), next(module.children(), None) is not None)

        def leave(module: Any, args: Any, output: Any) -> Any:
            return recorder.leave(output)

        parameters = list(net.parameters())
        tensors = [torch.from_numpy(array.copy()) for array in inputs]
        if parameters:
            tensors = [tensor.to(parameters[0].device) for tensor in tensors]
        dtype = next((parameter.dtype for parameter in parameters if parameter.is_floating_point()), None)
        if dtype:
            tensors = [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in tensors]
        was_training = {module: module.training for module in modules}
        buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
        hooks = []
        try:
            for module in names:
                hooks.append(module.register_forward_pre_hook(enter, with_kwargs=True))
                hooks.append(module.register_forward_hook(leave))
            net.train(training)
            with torch.no_grad(), torch.compiler.set_stance("force_eager") if is_compiled else nullcontext():
                return net(*tensors)
        finally:
            for module, before in was_training.items():
                module.training = before
            for hook in hooks:
                hook.remove()
            _restore(net, buffers)

    def settings(self, layer: Any, kind: str, size: Sequence[int]) -> Settings:
        return torch_settings(layer, kind, size)

    def parameters(
        self, layer: Any, kind: str, value_of: ValueOf = lambda name, tensor: tensor
    ) -> dict[str, np.ndarray]:
        import torch

        with torch.no_grad():
            names = NORM_NAMES if kind == "norm" else NAMES
            tensors = [(name, getattr(layer, attribute, None)) for attribute, name in names.items()]
            values = [(name, value_of(name, tensor)) for name, tensor in tensors if tensor is not None]
            return {name: as_numpy(value) for name, value in values if value is not None}

    def assign(self, layer: Any, kind: str, parameters: Mapping[str, np.ndarray]) -> None:
        import torch

        with torch.no_grad():
            for attribute, name in (NORM_NAMES if kind == "norm" else NAMES).items():
                if name in parameters:
                    getattr(layer, attribute).copy_(torch.from_numpy(np.array(parameters[name], order="C")))

    def training_step(
        self, inputs: Sequence[np.ndarray], factors: np.ndarray, layers: Sequence[LayerCall], seed: int = 0
    ) -> Step:
        import torch

        net, parameters = self.net, [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        was_training = {module: module.training for module in net.modules()}
        buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
        like = next(net.parameters(), torch.zeros(1))
        tensors = [torch.from_numpy(array.copy()).to(like.device) for array in inputs]
        tensors = [one.to(like.dtype).requires_grad_() if one.is_floating_point() else one for one in tensors]
        watched = [tensor for tensor in tensors if tensor.requires_grad]
        try:
            net.train()
            for module in net.modules():
                if kind_of(type(module), True) == "dropout":
                    module.eval()
            with torch.enable_grad(), torch.random.fork_rng():
                torch.manual_seed(seed)
                # Multiplied, since a layer may change its input in place.
                output = find_arrays(net(*(one * 1 if one.requires_grad else one for one in tensors)))[0]
                loss = (output * torch.from_numpy(factors).to(output)).sum()
            found = torch.autograd.grad(loss, [*watched, *parameters], allow_unused=True)
            gradients = dict(zip(map(id, parameters), found[len(watched) :], strict=True))

            def value_of(name: str, tensor: Any) -> Any:
                return tensor.clone() if name in STATISTICS else gradients.get(id(tensor))

            of_layers = [self.parameters(call.layer, call.kind, value_of) for call in layers]
            return [None if one is None else as_numpy(one) for one in found[: len(watched)]], of_layers
        finally:
            for module, before in was_training.items():
                module.training = before
            _restore(net, buffers)

    def like(self, array: np.ndarray, other: Any) -> Any:
        import torch

        return torch.from_numpy(array.copy()).to(other.device, other.dtype)


def _restore(net: Any, buffers: Mapping[str, Any]) -> None:
    """Give a module's buffers their former values."""
    import torch

    with torch.no_grad():
        for name, buffer in net.named_buffers():
            if name in buffers and not torch.equal(buffer, buffers[name]):
                buffer.copy_(buffers[name])
