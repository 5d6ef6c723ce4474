"""Figures of the analytic models.

Each function computes its numbers, draws them, and says in a sentence what they show. Its keyword arguments are the model's parameters.
"""
