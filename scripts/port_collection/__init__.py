"""The collection that `compare_networks` is measured on: right ports of public networks, and planted mistakes."""

import os
import warnings

import numpy as np

from lenet_multi.backends import load_backend

warnings.filterwarnings("ignore")  # those of packages that are older than what they run on
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
load_backend("mxnet")  # before any module imports MXNet: it gives NumPy back the names that MXNet needs
if "int" not in vars(np):
    np.int = int  # type: ignore[attr-defined]  # gluoncv2's RegNet uses it
