"""What is said about batch normalisation: printed claims, users' files, typed lines.

Nothing here decides. The sources stand under :mod:`bntheory.claims.sources`; :func:`registry` gives their claims by
permanent ids.
"""

from __future__ import annotations

from bntheory.claims.claim import Claim, Registry, Source, Study, claim, collecting, registry
from bntheory.evidence.checks import Check

__all__ = ["Check", "Claim", "Registry", "Source", "Study", "claim", "collecting", "registry"]
