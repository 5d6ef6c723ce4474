"""``python -m bntheory``: the command, where the console script is not on the path."""

from bntheory.cli import main

if __name__ == "__main__":
    main()
