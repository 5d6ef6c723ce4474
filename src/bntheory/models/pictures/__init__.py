"""Figures of the analytic models and of what smoothness means.

Each function computes its numbers, draws them, and says in a sentence what they show. Its keyword arguments are the model's parameters.
"""
