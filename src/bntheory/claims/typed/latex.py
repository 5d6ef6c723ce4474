"""A typed claim as mathematics: the syntax tree written in LaTeX, with the field's usual letters.

A letter means one thing: where a free name is also the letter of a word, one of the two has a prime (:func:`primed`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction

from bntheory.claims.typed.syntax import Binary, Call, Compare, Junction, Name, Node, Not, Number, Sign, parse
from bntheory.claims.typed.trees import renamed
from bntheory.layer.domain import LayerDomain, Normaliser
from bntheory.layer.words import SECOND, UNIT_B

_LETTERS = {
    "m": "m",
    "gamma": r"\gamma",
    "beta": r"\beta",
    "eps": r"\varepsilon",
    "mu": r"\mu",
    "var": r"v",
    "sigma": r"\sigma",
    "gamma_grad": r"\partial_\gamma\hat L",
    "beta_grad": r"\partial_\beta\hat L",
    "jac_norm": r"\|J\|",
    "one": r"\mathbf{1}",
    "y": "y",
    "y_hat": r"\hat y",
    "z": "z",
    "dual": "q",
    "grad": "g",
    "input_grad": r"\nabla_y\hat L",
    "hess": "H",
    "jac": "J",
    "input_hess": r"\hat H",
    "cross": r"H_{ab}",
    "input_cross": r"\hat H_{ab}",
    "rise": r"\Delta L",
    "centre": "C",
}
#: words of a second batch or unit, of which a domain has the free quantities that they need under these names
_OTHERS = frozenset((*SECOND, *UNIT_B))
#: the words that keep their letter beside a free name, as they do in the inner-product calculus
_KEPT = ("grad", "hess")
#: mathematics, and words that follow it
_MEANING = {
    "m": ("m", "the batch size"),
    "mu": (r"\mu", "the mean of the batch"),
    "var": ("@v", "the biased variance of the batch"),
    "sigma": (r"\sigma = \sqrt{@v + \varepsilon}", "with the biased variance $@v$"),
    "one": (r"\mathbf{1}", "the vector of ones"),
    "y": ("y", "the pre-activations of one unit over the batch"),
    "y_hat": (r"\hat y = (y-\mu)/\sigma", ""),
    "z": (r"z = \gamma\hat y + \beta", ""),
    "grad": ("g", "the gradient of the loss at the layer's output"),
    "input_grad": (r"\nabla_y\hat L", "the gradient through the layer"),
    "hess": ("H", "the Hessian of the loss at the layer's output"),
    "input_hess": (r"\hat H", "the Hessian through the layer"),
    "jac": ("@J", "the layer's Jacobian"),
    "dual": (r"@q = \hat y", ""),
    "centre": ("@C", "the map that subtracts the mean"),
    "gamma_grad": (r"\partial_\gamma\hat L", r"the derivative of the loss by the scale $\gamma$"),
    "beta_grad": (r"\partial_\beta\hat L", r"the derivative of the loss by the shift $\beta$"),
    "jac_norm": ("@J_norm", "the largest singular value of the layer's Jacobian"),
    "rise": (r"\Delta L", "the loss at the second batch minus the loss at the first"),
    "cross": (r"H_{ab}", "the block of the Hessian of the loss at the layer's output between the unit and unit $b$"),
    "input_cross": (r"\hat H_{ab}", "the block of the Hessian through the layer between the unit and unit $b$"),
    "standardise": (
        r"\widehat{\,\cdot\,}",
        r"the vector below it minus its mean, divided by the root of its biased variance plus $\varepsilon$",
    ),
}
#: what differs with the normaliser (:mod:`bntheory.layer.family`)
_MEANING_UNDER: dict[Normaliser, dict[str, tuple[str, str]]] = {
    "mean-only": {"sigma": (r"\sigma = 1", ""), "y_hat": (r"\hat y = y-\mu", "")},
    "unbiased": {
        "sigma": (r"\sigma = \sqrt{\tfrac{m}{m-1}\,@v + \varepsilon}", "with the biased variance $@v$"),
        "dual": (r"@q = \tfrac{m}{m-1}\,\hat y", ""),
    },
    "rms": {
        "mu": (r"\mu = 0", ""),
        "var": ("@v", "the mean square of the batch"),
        "sigma": (r"\sigma = \sqrt{@v + \varepsilon}", "with the mean square $@v$"),
        "y_hat": (r"\hat y = y/\sigma", ""),
    },
    "frozen": {
        "mu": (r"\mu", "the mean of the batch, held constant"),
        "sigma": (r"\sigma = \sqrt{@v + \varepsilon}", "with the biased variance $@v$, held constant"),
    },
    "l1": {
        "sigma": (r"\sigma = \tfrac1m\sum_i|y_i-\mu| + \varepsilon", ""),
        "dual": ("@q", "the vector of the signs of $y_i-\\mu$"),
    },
    "linf": {
        "sigma": (r"\sigma = \max_i|y_i-\mu|", ""),
        "dual": ("@q", r"the vector with $m$ times the sign of the largest $y_i-\mu$ in its place and $0$ elsewhere"),
    },
}
_RELATIONS = {"<=": r"\le", "<": "<", ">=": r"\ge", ">": ">", "==": "=", "!=": r"\ne"}
_SUM, _PRODUCT, _SIGNED, _POWER, _ATOM = range(5)


def latex_of(expression: str, names: Mapping[str, str] | None = None) -> str:
    """The expression in LaTeX, without dollar signs. Raises UserError where it cannot be read.

    names: of :func:`primed`.
    """
    return latex_of_tree(renamed(parse(expression), names or {}))


def latex_of_tree(node: Node) -> str:
    """A syntax tree in LaTeX, without dollar signs."""
    return _logic(node, top=True)


def primed(free: Iterable[str]) -> dict[str, str]:
    """The names, free ones and words, that have a prime so that no letter means two things."""
    names: dict[str, str] = {}
    for name in set(free) - _OTHERS:
        words = [word for word in _LETTERS if name in (word, _LETTERS[word].strip(r"\|"))]
        kept = not words or any(word in (*_KEPT, name) for word in words)
        names |= {name: name + "'"} if words and kept else {word: word + "'" for word in words}
    return names


def legend(expression: str, domain: LayerDomain | None = None) -> list[str]:
    """What the letters in it stand for, one entry a word of the vocabulary, mathematics between dollar signs."""
    names = primed(free_names(domain)) if domain is not None else {}
    typed = set(re.findall(r"[A-Za-z][A-Za-z0-9_]*(?:@\w+)?", expression))
    heads = {name.partition("@")[0] for name in typed if not name.endswith("@case")}
    words = heads - set(free_names(domain) if domain else ())
    words |= {"m", "one"} if "batch_mean" in words else set()
    meaning = _MEANING | _MEANING_UNDER.get(domain.normaliser if domain is not None else "batch", {})
    for word in ("dual", "z", "y_hat", "sigma"):  # each may be explained by the next
        if word in words:
            words |= {w for w in ("y_hat", "sigma", "mu") if _LETTERS[w] in meaning[word][0]}
    found = [
        f"${mark}$ {said}".replace("$ the ", "$ is the ").strip() for w, (mark, said) in meaning.items() if w in words
    ]
    tokens = (("jac_norm", "@J_norm"), ("var", "@v"), ("jac", "@J"), ("dual", "@q"), ("centre", "@C"))
    for word, token in tokens:
        found = [entry.replace(token, letter(names.get(word, word))) for entry in found]
    found += [
        f"${letter(name)}$ is the basis vector of one example" for name in sorted(typed) if name.endswith("@case")
    ]
    if typed & {*SECOND}:
        found.append(r"the mark ${}^{(2)}$ is for a second batch through the same layer, with the same loss")
    if typed & {*UNIT_B}:
        found.append(r"the mark ${}_{b}$ is for another unit $b$ of the layer")
    return found


def free_names(domain: LayerDomain) -> list[str]:
    """The free quantities of a domain that are written by their name, and are no words of a second batch or unit."""
    free = (*domain.scalars, *(v for v in domain.vectors if not v.endswith("@case")), *domain.operators)
    return [name for name in free if name not in _OTHERS]


def _logic(node: Node, *, top: bool = False) -> str:
    if isinstance(node, Junction):
        joined = (r"\ \text{ and }\ " if node.op == "and" else r"\ \text{ or }\ ").join(_logic(p) for p in node.parts)
        return joined if top else rf"\big({joined}\big)"
    if isinstance(node, Not):
        return rf"\text{{not }}\big({_logic(node.operand, top=True)}\big)"
    if isinstance(node, Compare):
        parts = [_value(node.first, _SUM)]
        for op, side in zip(node.ops, node.rest, strict=True):
            parts += [_RELATIONS[op], _value(side, _SUM)]
        return " ".join(parts)
    return _value(node, _SUM)


def _value(node: Node, level: int) -> str:
    text, own = _written(node)
    return text if own >= level else rf"\left({text}\right)"


def _written(node: Node) -> tuple[str, int]:
    """The node in LaTeX, and how tightly it binds."""
    if isinstance(node, Number):
        return _number(node.value)
    if isinstance(node, Name):
        return letter(node.name), _ATOM
    if isinstance(node, Sign):
        return ("-" if node.negative else "+") + _value(node.operand, _SIGNED), _SIGNED
    if isinstance(node, Binary):
        return _binary(node)
    if isinstance(node, Call):
        return _call(node)
    return _logic(node, top=True), _SUM


def _number(value: Fraction) -> tuple[str, int]:
    top, bottom = map(_digits, value.as_integer_ratio())
    if value.denominator == 1:
        return top, _SIGNED if value < 0 else _PRODUCT if "cdot" in top else _POWER if "^" in top else _ATOM
    return rf"\tfrac{{{top}}}{{{bottom}}}", _ATOM


def _digits(n: int) -> str:
    """A whole number; six zeros or more at its end as a power of ten."""
    head = str(n).rstrip("0")
    zeros = len(str(n)) - len(head)
    if zeros < 6:
        return str(n)
    return ("" if head == "1" else rf"{head} \cdot ") + rf"10^{{{zeros}}}"


def _binary(node: Binary) -> tuple[str, int]:
    if node.op == "/":
        return rf"\frac{{{_value(node.left, _SUM)}}}{{{_value(node.right, _SUM)}}}", _POWER
    if node.op == "**":
        return f"{_power_base(node.left)}^{{{_value(node.right, _SUM)}}}", _POWER
    if node.op == "*":
        left, right = _value(node.left, _PRODUCT), _value(node.right, _SIGNED)
        dot = r" \cdot " if right[:1].isdigit() or right[:1] in "+-" else r"\,"
        return f"{left}{dot}{right}", _PRODUCT
    return f"{_value(node.left, _SUM)} {node.op} {_value(node.right, _PRODUCT)}", _SUM


def _power_base(node: Node) -> str:
    base = _value(node, _ATOM)
    simple = isinstance(node, Name) and re.fullmatch(r"\\?[A-Za-z]+", base)
    return (
        base if simple or base.startswith((r"\left(", r"\left\langle")) or base.isdigit() else rf"\left({base}\right)"
    )


def _call(node: Call) -> tuple[str, int]:
    arguments = node.arguments
    if node.name in _FORMS:
        return _FORMS[node.name](*arguments), _ATOM
    inside = ", ".join(_value(a, _SUM) for a in arguments)
    if len(arguments) == 1 and isinstance(arguments[0], (Name, Call)):
        return rf"{letter(node.name)}\,{inside}", _PRODUCT
    return rf"{letter(node.name)}\left({inside}\right)", _ATOM


def _operator_name(node: Node) -> str:
    return letter(node.name) if isinstance(node, (Name, Call)) else _value(node, _SUM)


def _norm2(v: Node) -> str:
    return rf"\left\|{_value(v, _SUM)}\right\|^2"


def _root(x: Node) -> str:
    if isinstance(x, Call) and x.name == "norm2":
        return rf"\left\|{_value(x.arguments[0], _SUM)}\right\|"
    return rf"\sqrt{{{_value(x, _SUM)}}}"


_FORMS: dict[str, Callable[..., str]] = {
    "dot": lambda u, v: rf"\left\langle {_value(u, _SUM)}, {_value(v, _SUM)}\right\rangle",
    "norm2": _norm2,
    "sqrt": _root,
    "trace": lambda a: rf"\operatorname{{tr}} {_operator_name(a)}",
    "max_eig": lambda a: rf"\lambda_{{\max}}({_operator_name(a)})",
    "min_eig": lambda a: rf"\lambda_{{\min}}({_operator_name(a)})",
    "batch_mean": lambda v: rf"\tfrac1m\left\langle \mathbf{{1}}, {_value(v, _SUM)}\right\rangle",
    "centre": lambda v: rf"C\left({_value(v, _SUM)}\right)",
    "standardise": lambda v: rf"\widehat{{{_value(v, _SUM)}}}",
}


def letter(name: str) -> str:
    """A name of the vocabulary or a free one, as it stands in a formula."""
    head, _, mark = name.partition("@")
    bare = head.rstrip("'")
    escaped = bare.replace("_", r"\_")
    if mark == "case":
        return rf"e_{{\mathrm{{{escaped}}}}}"
    own = _LETTERS.get(bare) or (bare if len(bare) == 1 else rf"\mathit{{{escaped}}}")
    if bare != head:  # within the bars of a norm
        own = re.sub(r"(?<=[A-Za-z])(?=(\\\|)?$)", head[len(bare) :], own, count=1)
    return rf"{{{own}}}^{{(2)}}" if mark == "2" else rf"{{{own}}}_{{b}}" if mark == "b" else own
