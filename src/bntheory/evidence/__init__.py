"""What a check is, and what makes numbers into one.

What lives here: :class:`~bntheory.evidence.checks.Check`, intervals over seeds, slopes, rates and distances. What does not: training,
torch, and any particular claim.
"""
