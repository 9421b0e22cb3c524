"""Comparing a port: finds the first layer at which two networks differ, and gives a hint at the cause."""

from lenet_multi.ports.errors import PortError
from lenet_multi.ports.network_comparison import compare_networks
from lenet_multi.ports.report import LayerReport, Report

__all__ = ["LayerReport", "PortError", "Report", "compare_networks"]
