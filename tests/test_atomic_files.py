"""Files are written whole or not at all."""

import os
import secrets
import signal
import stat
import subprocess
import sys
from contextlib import suppress

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
    assert seen == [b"old", b"new"]  # the file, then the folder that the rename changed
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("kind", ["link", "pipe"])
@pytest.mark.parametrize("name", [".file.part", ".file.0000000000000000.part"])
def test_what_lies_under_a_temporary_name_is_not_opened(name, kind, tmp_path, monkeypatch):
    """A link could lead to any file, and nobody may read from a pipe. The second name is guessed right."""
    monkeypatch.setattr(secrets, "token_hex", lambda size: "00" * size)
    victim, in_the_way = tmp_path / "victim", tmp_path / name
    victim.write_bytes(b"precious")
    if kind == "link":
        in_the_way.symlink_to(victim)
    else:
        os.mkfifo(in_the_way)
    with suppress(UserError):
        write_atomically(tmp_path / "file", b"new")
    assert victim.read_bytes() == b"precious"
    assert os.path.lexists(in_the_way)


def test_a_link_in_the_files_place_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "file").symlink_to(tmp_path / "victim")
    write_atomically(tmp_path / "file", b"new")
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "victim").read_bytes() == b"precious"


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_file_has_the_mode_of_any_new_file(umask, tmp_path):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "file", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("name", ["n" * 255, "\N{SNOWMAN}" * 85])
def test_a_name_may_be_as_long_as_the_file_system_allows(name, tmp_path):
    write_atomically(tmp_path / name, b"new")
    assert [path.name for path in tmp_path.iterdir()] == [name]


WRITER = """
import sys
from pathlib import Path
from lenet_multi.system.atomic_files import write_atomically
for number in range(150):
    write_atomically(Path(sys.argv[1]), sys.argv[2].encode() * 100_000)
"""


def test_several_writers_never_damage_a_file(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"0" * 100_000)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), letter], stderr=subprocess.PIPE, text=True)
        for letter in "ab"
    ]
    damaged = 0
    while any(writer.poll() is None for writer in writers):
        content = path.read_bytes()
        damaged += len(content) != 100_000 or len(set(content)) != 1
    assert [writer.communicate()[1] for writer in writers] == ["", ""]
    assert damaged == 0
    assert list(tmp_path.iterdir()) == [path]


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


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit of a file's size")
def test_a_write_that_fails_again_when_the_file_is_closed_leaves_no_temporary_file(tmp_path):
    """As on a full disk: what the buffer still holds cannot be written when the file is closed."""
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from lenet_multi.errors import UserError; from lenet_multi.system.atomic_files import write_atomically\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    write_atomically(Path(sys.argv[1]), bytes(5000))\n"
        "except UserError as problem:\n"
        "    print(problem)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "file"], capture_output=True, text=True)
    assert "cannot be written (File too large)" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []
