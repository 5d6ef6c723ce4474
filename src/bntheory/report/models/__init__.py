"""Figures of the analytic models: each function draws one from numbers that it computes and says in a sentence what it shows."""
