"""Which backends the tests cover: the installed ones, and a run that needs others is refused."""

import pytest
from conftest import Absent, needs, pytest_configure

from lenet_multi import backends


@pytest.mark.parametrize(
    ("required", "told"),
    [
        ("torch,mxnet", "LENET_MULTI_REQUIRE_BACKENDS: the mxnet backend needs MXNet"),
        ("torch,caffe", "LENET_MULTI_REQUIRE_BACKENDS: unknown backend 'caffe'"),
    ],
)
def test_a_run_without_a_required_backend_is_refused(required, told, monkeypatch):
    monkeypatch.setattr(backends, "installed_backends", lambda: ("torch",))
    monkeypatch.setenv("LENET_MULTI_REQUIRE_BACKENDS", required)
    with pytest.raises(pytest.UsageError, match=told):
        pytest_configure()


@pytest.mark.parametrize("required", ["", "torch"])
def test_a_run_with_the_required_backends_starts(required, monkeypatch):
    monkeypatch.setenv("LENET_MULTI_REQUIRE_BACKENDS", required)
    pytest_configure()


def test_a_test_of_an_absent_backend_is_skipped_and_says_why():
    assert needs("torch").args == (False,)
    mark = needs("caffe")
    assert mark.args == (True,)
    assert mark.kwargs["reason"] == 'needs the caffe backend (not installed: pip install "lenet-multi[caffe]")'
    with pytest.raises(pytest.skip.Exception, match="needs the caffe backend"):
        Absent("caffe").numpy.array([1])
