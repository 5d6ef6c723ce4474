"""Reporting: the HTML report of a run, tables of verdicts, the pages under ``papers/``.

A run
    ``compare``      the main job from end to end; ``claims_run`` every experiment claim at one scale
    ``run_page``, ``run_panels``, ``run_answers``, ``margins``   its page, its panels, the discussion's questions answered
    ``claims_table``, ``forest``, ``effect_text``   verdicts as rows, effects as intervals and in words
Claims
    ``papers``, ``prose``   the pages, and that what is written by hand says what was judged
    ``records``, ``rederive``   what was judged, on disk, and judged again
    ``training_figures``   single trainings beside a claim's statement
``tour``         the first look
``html``, ``strict_json``   templates in which everything is escaped, and JSON that every parser reads

What lives here turns evidence into something that a reader can judge; it decides nothing and measures nothing. Importing this
package is cheap: torch and matplotlib load with the function that needs them. What one object looks like is drawn where the object
is: a file called picture in its room.
"""
