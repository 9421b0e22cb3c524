"""Comparing a port with its reference: the layers that differ, with hints at the causes; moving weights into a port."""

from lenet_multi.ports.errors import PortError
from lenet_multi.ports.network_comparison import compare_networks
from lenet_multi.ports.report import LayerReport, Report
from lenet_multi.ports.weight_transfer import Transfer, transfer_weights

__all__ = ["LayerReport", "PortError", "Report", "Transfer", "compare_networks", "transfer_weights"]
