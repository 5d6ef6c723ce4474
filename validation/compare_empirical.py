#!/usr/bin/env python3
"""Hold the theory of batch normalisation against real networks on real data; see --help.

The experiment itself is :func:`bntheory.report.compare.compare`; this file only puts the command's options in front of it.
"""

import typer

from bntheory.commands.compare import compare_command

if __name__ == "__main__":
    typer.run(compare_command)
