"""The commands of ``bntheory``, a module for each group; :mod:`bntheory.cli` puts them together.

A command parses, calls and prints. Whatever computes lives in a lower room and loads when the command runs.
"""
