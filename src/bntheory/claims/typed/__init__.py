"""Claims typed as one line of text: grammar, meaning, and the functions over a layer that they become. Nothing is ever
evaluated as Python."""
