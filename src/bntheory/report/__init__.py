"""Showing: figures, tables, the HTML report of a run, the pages under ``papers/``.

A run
    ``compare``      the main job from end to end; ``claims_run`` every experiment claim at one scale
    ``run_page``, ``run_panels``, ``run_answers``, ``margins``   its page, its panels, the discussion's questions answered
    ``claims_table``, ``forest``, ``effect_text``   verdicts as rows, effects as intervals and in words
Claims
    ``papers``, ``prose``   the pages, and that what is written by hand says what was judged
    ``records``, ``rederive``   what was judged, on disk, and judged again
    ``verdicts``     a verdict as a picture
Figures
    ``style``        how each looks
    ``probe``, ``monitor``, ``smoothness``, ``training_figures``   of a probe, a followed training, smoothness, single trainings
    ``tour``         the first look; :mod:`.models` draws the analytic models
``html``, ``strict_json``   templates in which everything is escaped, and JSON that every parser reads

What lives here turns evidence into something that a reader can judge; it decides nothing and measures nothing. Importing this
package is cheap: torch and matplotlib load with the function that needs them.
"""
