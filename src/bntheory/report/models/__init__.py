"""Figures of the analytic models: each function draws one from numbers that it computes and says in a sentence, with the numbers in it, what
it shows. Keyword arguments are the model's parameters."""
