"""Files are written whole or not at all."""

import os
import signal

import pytest

from lenet_multi.errors import UserError
from lenet_multi.system.atomic_files import CreatedFolder, write_atomically
from lenet_multi.system.signals import ignore_sigint


def test_until_everything_is_on_disk_the_old_file_stands(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(path.read_bytes()))
    write_atomically(path, b"new")
    assert seen == [b"old"]
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file_and_no_part(error, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(_):
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((UserError, KeyboardInterrupt)):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_made_folder_goes_again_where_the_block_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), CreatedFolder(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_or_holds_something_stays(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(ZeroDivisionError), CreatedFolder(tmp_path / "there" / "a" / "b"):
        (tmp_path / "there" / "a" / "file").touch()
        raise ZeroDivisionError
    assert (tmp_path / "there" / "a" / "file").exists()
    assert not (tmp_path / "there" / "a" / "b").exists()


@pytest.fixture
def ctrl_c_interrupts():
    """Also where these tests run in a shell's background job, for which Ctrl-C is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_waits_for_files_that_belong_together(ctrl_c_interrupts):
    with ignore_sigint():
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
