"""A child process that ends when its parent does, however the parent ends.

The parent keeps one end of a pipe open for as long as it lives, and the child waits for the other end to close. Unlike
a question for the parent's process id, this has no race: a child that starts too late finds the pipe closed.

Linux has a signal for this purpose (PR_SET_PDEATHSIG), but it is sent when the *thread* that started the child ends,
and macOS has none. With the pipe, a child ends as soon as its interpreter lets another thread run. The import of
TensorFlow keeps it waiting longest, for 0.42 s as measured; `folder_lock` waits 5 s for a process that ends.
"""

from __future__ import annotations

import os
import re
import signal
import threading

PARENT_PIPE = "LENET_MULTI_PARENT_PIPE"  # the environment variable with the child's descriptor


def end_with_parent(with_group: bool = False) -> None:
    """End this process at once when its parent ends, if the parent has passed it a pipe.

    Nothing is saved then: a resumed comparison may already wait for the run's folder. The last checkpoint stays.

    Args:
        with_group: whether all processes of this one's group end too. It must be a group of its own.
    """
    descriptor = os.environ.pop(PARENT_PIPE, None)  # it is not meant for this process's children
    if descriptor is not None and re.fullmatch("[0-9]{1,9}", descriptor):
        threading.Thread(target=_wait_for_end, args=(int(descriptor), with_group), daemon=True).start()


def _wait_for_end(descriptor: int, with_group: bool) -> None:
    try:
        os.read(descriptor, 1)
    except OSError:  # this process has closed it
        return
    if with_group:
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
