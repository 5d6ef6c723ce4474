"""The single normalised unit, exactly: its landscape, spectra for squared and separable losses, suprema and phase
diagrams."""
