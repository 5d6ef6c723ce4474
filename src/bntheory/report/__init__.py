"""Showing: figures, tables, the HTML report of a run, the pages under ``papers/``.

What lives here turns evidence into something that a reader can judge; it decides nothing and measures nothing. Importing this
package is cheap: torch and matplotlib load with the function that needs them.
"""
