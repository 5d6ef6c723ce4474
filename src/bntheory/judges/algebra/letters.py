"""The letters of a normal form: those that the claim itself is printed with (:mod:`bntheory.claims.typed.latex`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bntheory.claims.typed.latex import free_names, letter, primed
from bntheory.layer.domain import FREE

if TYPE_CHECKING:
    from bntheory.layer.symbolic import SymbolicLayer


@dataclass(frozen=True)
class Letters:
    """LaTeX of what a normal form consists of. symbols: of scalars; atoms: of vectors and operators, by their name in the space."""

    symbols: dict[Any, str]
    atoms: dict[str, str]

    def latex(self, x: Any) -> str:
        """A scalar as LaTeX."""
        import sympy as sp

        return str(sp.latex(x, symbol_names={s: self.symbols[s] for s in x.free_symbols if s in self.symbols}))


def letters_of(layer: SymbolicLayer) -> Letters:
    """The letters of everything that the layer has been asked for."""
    space, names = layer.space, primed(free_names(layer.domain))

    def written(name: str, otherwise: str) -> str:
        typed = name.partition("@")[0].isidentifier() and name != "cross"  # the vector H_ab v, and not the block
        return letter(names.get(name, name)) if typed else otherwise

    free, variance = layer.free_scalars, layer.var.value
    symbols = {symbol: written(name, symbol.name) for name, symbol in free.items()}
    if variance.is_Symbol:
        symbols[variance] = written("var", variance.name)
    isotropic = layer.isotropic
    symbols[isotropic] = isotropic.name + "'" * (isotropic.name in symbols.values())
    atoms = {
        name: written(name.removeprefix(FREE), shown) if name.startswith(FREE) else shown
        for name, shown in space.named.items()
    }

    def word_of(word: tuple[str, ...]) -> str:
        return "".join(f"{atoms.get(operator, operator)} " for operator in word)

    for (a, word, b), symbol in space.table.items():
        symbols[symbol] = rf"\langle {atoms.get(a, a)}, {word_of(word)}{atoms.get(b, b)} \rangle"
    for word, trace in space.traces.items():
        if word and getattr(trace, "is_Symbol", False) and trace.name.startswith(r"\operatorname{tr}"):
            symbols[trace] = rf"\operatorname{{tr}} {word_of(word).strip()}"
    return Letters(symbols, atoms)
