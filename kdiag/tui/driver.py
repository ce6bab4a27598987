"""What a terminal sends, whatever it sends."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from functools import partial

from textual.drivers import linux_driver


class Driver(linux_driver.LinuxDriver):
    """textual's, but its thread that reads keys ends the screen in one line where textual prints a traceback."""

    def _run_input_thread(self) -> None:
        self.run_input_thread()


def _forgiving(encoding: str) -> Callable[[], codecs.IncrementalDecoder]:
    """A byte that is no UTF-8 is a key that nothing is bound to: old terminals send such ones, and so does a paste."""
    return partial(codecs.getincrementaldecoder(encoding), errors="replace")


# textual decodes in the middle of a function, strictly: the screen would stand, and no key would do anything any more.
setattr(linux_driver, "getincrementaldecoder", _forgiving)  # noqa: B010 - it is no name that textual exports
