"""The errors that a user can cause, and how they read.

Bad input is a :class:`ValueError` everywhere in the library, so that a caller needs no import to catch it.
:class:`UserError` is the one that the command line turns into a message and exit code 2.
"""

from __future__ import annotations


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
