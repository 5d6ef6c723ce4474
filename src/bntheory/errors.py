"""The errors that a user can cause, and how they read.

Bad input is a :class:`ValueError` everywhere in the library, so that a caller needs no import to catch it.
:class:`UserError` is the one that the command line turns into a message and exit code 2.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class UserError(ValueError):
    """Bad input: its text says what is wrong, where, why it cannot be, and what to do."""


class ClaimError(UserError):
    """The code of a claim raised, or what it returned makes no sense: the text names the line."""


class Signal(Exception):
    """What a judge's own world says to its judge through a claim's function; the claim itself has no part in it."""


class OutsideVocabulary(Exception):
    """A claim uses something that this judge's world does not have; the judge answers *unknown*."""


class RoutesDisagree(AssertionError):
    """Two routes of one judge contradict each other: a defect of bntheory, never of the claim."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, inside of :func:`terminated_as_interrupted`: it ends what is being done as Ctrl-C does."""


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Inside, SIGTERM (of a cluster's scheduler, of a shutdown, of torchrun) is an interrupt: it is told how to go on, and workers end.

    A fork of this process ends by it as if nothing had been done here; outside of the main thread nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own = os.getpid()

    def interrupt(number: int, frame: Any) -> None:
        if os.getpid() == own:
            raise Terminated
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
