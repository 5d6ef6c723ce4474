"""The grammar of a typed claim: text in, a small syntax tree out.

    statement   := conjunction ("or" conjunction)*
    conjunction := negation ("and" negation)*
    negation    := "not" negation | comparison
    comparison  := sum (("<=" | "<" | ">=" | ">" | "==" | "!=") sum)*
    sum         := product (("+" | "-") product)*
    product     := signed (("*" | "/") signed)*
    signed      := ("+" | "-") signed | power
    power       := atom ["**" whole number]
    atom        := number | name | name "(" sum ("," sum)* ")" | "(" statement ")"

Nothing else exists: no attribute, no index, no string, no keyword, so there is nothing that could be run. Every error
is a :class:`~bntheory.errors.UserError` that points at its column.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import NoReturn

from bntheory.errors import UserError

_MAX_LENGTH, _MAX_DEPTH, _MAX_TOKENS, _MAX_POWER, _MAX_DIGITS, _MAX_EXPONENT = 4000, 60, 400, 16, 60, 300

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z][A-Za-z0-9_]*(?:@case|@2|@b)?)|(?P<op>\*\*|<=|>=|==|!=|[-+*/()<>,]))",
    re.ASCII,
)
#: letters, and others that look like them
_GREEK = {"γ": "gamma", "β": "beta", "ε\u03f5": "eps", "μ\u00b5": "mu", "σς": "sigma"}
_HINTS = {
    "=": "equality is written ==",
    "^": "a power is written **",
    ".": "there are no attributes here; write norm2(grad), not layer.norm2(layer.grad)",
    "[": "there are no indices and no lists here",
    "{": "there are no sets or dictionaries here",
    "'": "there are no strings here",
    '"': "there are no strings here",
    "|": "a norm is written norm2(v) (its square) or sqrt(norm2(v))",
    "&": "write 'and' between relations",
    "!": "not equal is written !=",
    "_": "a name starts with a letter",
    "≤": "write <=",
    "≥": "write >=",
    "≠": "write !=",
    "·": "write *, or dot(u, v) for an inner product",
    "×": "write *",
    "−": "write the minus sign of the keyboard, -",
    "²": "write **2",
    "√": "a square root is written sqrt(x)",
    "‖": "a norm is written norm2(v) (its square) or sqrt(norm2(v))",
    "⟨": "an inner product is written dot(u, v)",
    **{letter: f"write {word}" for letters, word in _GREEK.items() for letter in letters},
}


@dataclass(frozen=True)
class Number:
    value: Fraction
    column: int


@dataclass(frozen=True)
class Name:
    name: str
    column: int


@dataclass(frozen=True)
class Call:
    name: str
    arguments: tuple[Node, ...]
    column: int


@dataclass(frozen=True)
class Sign:
    operand: Node
    negative: bool
    column: int


@dataclass(frozen=True)
class Binary:
    """op is one of + - * / **; the right side of ** is a Number."""

    op: str
    left: Node
    right: Node
    column: int


@dataclass(frozen=True)
class Compare:
    """first ops[0] rest[0] ops[1] rest[1] ..., as in a <= b < c."""

    first: Node
    ops: tuple[str, ...]
    rest: tuple[Node, ...]
    column: int


@dataclass(frozen=True)
class Junction:
    """parts joined by ``and`` or by ``or``."""

    op: str
    parts: tuple[Node, ...]
    column: int


@dataclass(frozen=True)
class Not:
    operand: Node
    column: int


Node = Number | Name | Call | Sign | Binary | Compare | Junction | Not


def complain(text: str, column: int, message: str) -> NoReturn:
    """Raise a UserError that shows the text around a column (0-based) and points at it."""
    start = max(0, column - 50)
    shown = text[start : column + 30]
    printable = "".join(c if c.isprintable() else " " for c in shown)
    raise UserError(f"column {column + 1}: {message}\n  {printable}\n  {' ' * (column - start)}^")


def parse(text: str) -> Node:
    """The syntax tree of a typed claim. UserError for anything outside the grammar or beyond its limits."""
    if not isinstance(text, str):
        raise UserError(f"a claim is typed as text, not as {type(text).__name__}")
    if len(text) > _MAX_LENGTH:
        raise UserError(f"the expression has {len(text)} characters; {_MAX_LENGTH} are read at most")
    if not text.strip():
        raise UserError("the expression is empty; try: norm2(input_grad) <= gamma**2/sigma**2 * norm2(grad)")
    return _Parser(text).whole()


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    column: int


def _tokens(text: str) -> list[_Token]:
    tokens, position = [], 0
    while position < len(text):
        if not text[position:].strip():
            break
        match = _TOKEN.match(text, position)
        if match is None:
            at = position + len(text[position:]) - len(text[position:].lstrip())
            char = text[at]
            hint = _HINTS.get(char)
            what = repr(char) if char.isascii() else f"{char!r} (U+{ord(char):04X})"
            complain(text, at, f"unexpected {what}" + (f"; {hint}" if hint else ""))
        kind = match.lastgroup or ""
        tokens.append(_Token(kind, match.group(kind), match.start(kind)))
        if len(tokens) > _MAX_TOKENS:
            complain(text, match.start(kind), f"the expression has more than {_MAX_TOKENS} symbols")
        position = match.end()
    tokens.append(_Token("end", "", len(text)))
    return tokens


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.tokens, self.position, self.depth = text, _tokens(text), 0, 0

    @property
    def now(self) -> _Token:
        return self.tokens[self.position]

    def _take(self, *texts: str) -> _Token | None:
        token = self.now
        if token.kind in ("op", "name") and token.text in texts:
            self.position += 1
            return token
        return None

    def _deeper(self, column: int) -> None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            complain(self.text, column, f"nested more than {_MAX_DEPTH} levels deep")

    def _unexpected(self) -> NoReturn:
        token = self.now
        if token.kind == "end":
            complain(self.text, token.column, "the expression ends here, but something must follow")
        complain(self.text, token.column, f"{token.text!r} does not belong here")

    def whole(self) -> Node:
        node = self._statement()
        token = self.now
        if token.kind != "end":
            if token.text == ")":
                complain(self.text, token.column, "this ')' closes nothing")
            if token.kind in ("name", "number"):
                complain(self.text, token.column, f"an operator is missing before {token.text!r} (products need *)")
            self._unexpected()
        return node

    def _statement(self) -> Node:
        return self._joined("or", lambda: self._joined("and", self._negation))

    def _joined(self, word: str, inner: Callable[[], Node]) -> Node:
        parts = [inner()]
        column = self.now.column
        while self._take(word):
            parts.append(inner())
        return parts[0] if len(parts) == 1 else Junction(word, tuple(parts), column)

    def _negation(self) -> Node:
        token = self._take("not")
        if token is None:
            return self._comparison()
        self._deeper(token.column)
        node = Not(self._negation(), token.column)
        self.depth -= 1
        return node

    def _comparison(self) -> Node:
        first = self._sum()
        column = self.now.column
        ops, rest = [], []
        while token := self._take("<=", "<", ">=", ">", "==", "!="):
            ops.append(token.text)
            rest.append(self._sum())
        return Compare(first, tuple(ops), tuple(rest), column) if ops else first

    def _sum(self) -> Node:
        node = self._product()
        while token := self._take("+", "-"):
            node = Binary(token.text, node, self._product(), token.column)
        return node

    def _product(self) -> Node:
        node = self._signed()
        while token := self._take("*", "/"):
            node = Binary(token.text, node, self._signed(), token.column)
        return node

    def _signed(self) -> Node:
        token = self._take("+", "-")
        if token is None:
            return self._power()
        self._deeper(token.column)
        node = Sign(self._signed(), token.text == "-", token.column)
        self.depth -= 1
        return node

    def _power(self) -> Node:
        base = self._atom()
        token = self._take("**")
        if token is None:
            return base
        sign = self._take("+", "-")
        exponent = self.now
        if exponent.kind != "number" or not exponent.text.isdigit():
            complain(
                self.text,
                exponent.column,
                "an exponent is a whole number such as 2 or -1; a square root is written sqrt(x)",
            )
        self.position += 1
        if len(exponent.text) > 3 or int(exponent.text) > _MAX_POWER:
            complain(self.text, exponent.column, f"powers up to {_MAX_POWER} are supported")
        if self.now.text == "**":
            complain(self.text, self.now.column, "a power of a power needs parentheses")
        value = Fraction(int(exponent.text))
        negative = sign is not None and sign.text == "-"
        return Binary("**", base, Number(-value if negative else value, exponent.column), token.column)

    def _atom(self) -> Node:
        token = self.now
        if token.kind == "number":
            self.position += 1
            return Number(self._number(token), token.column)
        if token.kind == "name" and token.text not in ("and", "or", "not"):
            self.position += 1
            if self._take("("):
                return Call(token.text, self._arguments(token), token.column)
            return Name(token.text, token.column)
        if self._take("("):
            self._deeper(token.column)
            node = self._statement()
            self._close(token)
            self.depth -= 1
            return node
        return self._unexpected()

    def _arguments(self, function: _Token) -> tuple[Node, ...]:
        self._deeper(function.column)
        arguments: list[Node] = []
        if self.now.text != ")":
            arguments.append(self._statement())
            while self._take(","):
                arguments.append(self._statement())
        self._close(function)
        self.depth -= 1
        return tuple(arguments)

    def _close(self, opener: _Token) -> None:
        if not self._take(")"):
            if self.now.kind == "end":
                complain(self.text, opener.column, "this parenthesis is never closed")
            if self.now.kind in ("name", "number"):
                complain(
                    self.text, self.now.column, f"an operator is missing before {self.now.text!r} (products need *)"
                )
            self._unexpected()

    def _number(self, token: _Token) -> Fraction:
        mantissa, _, exponent = token.text.lower().partition("e")
        if len(mantissa) > _MAX_DIGITS or (exponent and (len(exponent) > 4 or abs(int(exponent)) > _MAX_EXPONENT)):
            complain(
                self.text,
                token.column,
                f"this number is too long: at most {_MAX_DIGITS} digits and exponents to {_MAX_EXPONENT}",
            )
        return Fraction(token.text)
