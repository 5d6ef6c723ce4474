"""Santurkar, Tsipras, Ilyas and Madry, NeurIPS 2018: how does batch normalisation help optimisation?"""

from bntheory.claims.sources.santurkar2018 import figure_1, figure_2, figures_3_4, landscape, layer, shift_definition

__all__ = ["figure_1", "figure_2", "figures_3_4", "landscape", "layer", "shift_definition"]
