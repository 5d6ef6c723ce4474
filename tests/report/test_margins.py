"""The share of units that break a printed inequality: the oracle is the counts that are put in."""

from __future__ import annotations

from bntheory.report.margins import violations_panel


def test_what_was_never_checked_has_no_bar_and_no_number_is_covered() -> None:
    def record(network: str) -> dict[str, object]:
        all_broken = {"checked": 4, "violated": 4}
        layer = {"theorem_4_1": {"neurips": {"checked": 4, "violated": 0}, "arxiv": None}}
        return {"network": network, "layers": [layer], "theorem_4_2": [{"first": None, "second": all_broken}]}

    figure = violations_panel([record("a"), record("b"), record("c")])
    (axes,) = figure.axes
    figure.canvas.draw()
    said = [text for text in axes.texts if text.get_text()]
    assert sorted(text.get_text() for text in said) == ["0", "0", "0", "100", "100", "100"]
    legend = axes.get_legend().get_window_extent()
    assert not any(legend.overlaps(text.get_window_extent()) for text in said)
