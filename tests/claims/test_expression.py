"""Typed claims: what they mean, and that nothing in them can run.

Independent oracles: the value of a typed expression is compared with Python's own evaluation of the same text (in the test only,
on text the test made), and with the claim written as a function; hostile text must end in a UserError that points at its column.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import re
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bntheory.claims.typed.expression import claim_of_expression, parse_claim
from bntheory.claims.typed.syntax import parse
from bntheory.claims.typed.transcript import answers_differently
from bntheory.errors import UserError
from bntheory.layer import BatchNormLayer, LayerDomain
from bntheory.layer.relations import AllOf, AnyOf, Relation, ge

HOSTILE = {
    "call": ("__import__('os').system('true')", 1),
    "attribute": ("grad.shape <= 1", 5),
    "dunder": ("m.__class__ <= 1", 2),
    "comprehension": ("[x for x in y] <= 1", 1),
    "lambda": ("(lambda: 1) <= 1", 8),
    "walrus": ("(m := 2) <= 1", 4),
    "string": ("'a' <= 1", 1),
    "f-string": ('f"{m}" <= 1', 2),
    "index": ("y[0] <= 1", 2),
    "semicolon": ("m <= 1; m", 7),
    "newline statement": ("m <= 1\nimport os", 8),
    "assignment": ("m = 2", 3),
    "huge power": ("m**999 <= 1", 4),
    "power tower": ("m**2**2 <= 1", 5),
    "power of a name": ("m**m <= 1", 4),
    "huge number": ("1e99999 <= 2", 1),
    "long number": ("1" * 100 + " <= 2", 1),
    "deep parentheses": ("(" * 100 + "m", 61),
    "deep signs": ("-" * 100 + "m <= 1", 61),
    "deep not": ("not " * 100 + "m <= 1", 241),
    "deep calls": ("hess(" * 100, 301),
    "many symbols": ("m+" * 300 + "m <= 1", 401),
    "null byte": ("m <= \x00", 6),
    "full-width digits": ("m <= １", 6),
    "full-width name": ("ｍ <= 1", 1),
    "superscript": ("m² <= 1", 2),
    "right-to-left mark": ("m <= \u202e1", 6),
    "backslash": ("m <= \\x41", 6),
    "unary invert": ("~m <= 1", 1),
    "matrix product": ("grad @ grad <= 1", 6),
    "floor": ("m // 2 <= 1", 4),
    "modulo": ("m % 2 == 0", 3),
    "unknown function": ("eval(m) <= 1", 1),
    "unknown name": ("gama <= 1", 1),
    "missing operator": ("2 m <= 3", 3),
    "missing operand": ("m <= 1 <", 9),
    "never closed": ("m <= (2", 6),
    "closes nothing": ("m <= 2)", 7),
    "empty argument": ("dot(grad,) <= 1", 10),
    "vector against number": ("grad <= 1", 6),
    "vector against non-zero": ("grad == 1", 6),
    "ordered vectors": ("grad <= y", 6),
    "vector plus scalar": ("grad + 1 == 0", 6),
    "vector times vector": ("norm2(grad*y) <= 1", 11),
    "vector power": ("norm2(grad**2) <= 1", 11),
    "divided by a vector": ("m/grad <= 1", 2),
    "one argument too many": ("norm2(grad, y) <= 1", 1),
    "scalar where a vector goes": ("norm2(m) <= 1", 7),
    "function not applied": ("hess <= 1", 1),
    "name applied": ("m(2) <= 1", 1),
    "relation as number": ("(m <= 1) + 1 <= 2", 10),
    "number as relation": ("m and m <= 2", 3),
}


@pytest.mark.parametrize(("text", "column"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_refused_at_its_column(text, column):
    ran = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("eval", "exec", "compile"):
            patch.setattr(builtins, name, lambda *a, name=name, **k: ran.append(name))
        try:
            parse_claim(text)
        except UserError as error:
            message = str(error)
        else:
            message = "accepted"
    assert message.startswith(f"column {column}:"), message
    assert not ran


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("m", "needs a comparison"),
        ("grad", "vector, not a claim"),
        ("m" * 10_000, "4000"),
    ],
    ids=["nothing", "blanks", "scalar", "vector", "10000 characters"],
)
def test_what_is_no_claim_is_said(text, message):
    with pytest.raises(UserError, match=message):
        parse_claim(text)


@pytest.mark.parametrize(("text", "word"), [("norm2(grad) <= and", "and"), ("m + or m <= 1", "or"), ("m <= )", ")")])
def test_a_word_where_a_value_goes_is_named(text, word):
    """Only where the text is over does it say so."""
    with pytest.raises(UserError, match=re.escape(f"{word!r} does not belong here")):
        parse_claim(text)
    with pytest.raises(UserError, match="ends here"):
        parse_claim("norm2(grad) <=")


def test_the_mark_stands_under_the_fault():
    with pytest.raises(UserError) as caught:
        parse_claim("norm2(grad) + gama <= 1")
    _, shown, mark = str(caught.value).splitlines()
    assert shown[mark.index("^") :].startswith("gama")
    assert "did you mean gamma" in str(caught.value)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=80))
def test_any_text_is_a_claim_or_a_user_error(text):
    with contextlib.suppress(UserError):
        parse_claim(text)


WORDS = [
    "m",
    "gamma",
    "grad",
    "y_hat",
    "dot(",
    "norm2(",
    "hess(",
    "sqrt(",
    ")",
    ",",
    "+",
    "-",
    "*",
    "/",
    "**",
    "2",
    "0.5",
]


@given(st.lists(st.sampled_from([*WORDS, "(", "<=", "==", "and", "not", "1e-3"]), max_size=25))
def test_any_words_are_a_claim_or_a_user_error(words):
    with contextlib.suppress(UserError):
        parse_claim(" ".join(words))


NUMBERS = SimpleNamespace(m=5, gamma=1.5, beta=-0.25, eps=0.125, mu=2.0, var=0.75, sigma=1.25)


@st.composite
def arithmetic(draw, depth=3):
    kind = draw(st.sampled_from(["name", "number"] if depth == 0 else ["+", "-", "*", "/", "**", "neg", "()", "name"]))
    if kind == "name":
        return draw(st.sampled_from(["m", "gamma", "beta", "eps", "mu", "var", "sigma"]))
    if kind == "number":
        return draw(st.sampled_from(["1", "2", "0.5", "1.5", "3", ".25", "1e-3", "4."]))
    inner = draw(arithmetic(depth=depth - 1))
    if kind == "neg":
        return f"-{inner}"
    if kind == "()":
        return f"({inner})"
    if kind == "**":
        return f"({inner})**{draw(st.sampled_from(['0', '1', '2', '3', '-1']))}"
    return f"{inner} {kind} {draw(arithmetic(depth=depth - 1))}"


@given(arithmetic())
def test_values_are_those_of_python(text):
    """Precedence, associativity, signs and powers, against Python's own grammar."""
    layer = SimpleNamespace(**{k: np.array([float(v)]) for k, v in vars(NUMBERS).items()})
    layer.m = NUMBERS.m
    tree = ast.parse(text, mode="eval")
    with np.errstate(all="ignore"):
        try:
            expected = eval(compile(tree, "", "eval"), {"__builtins__": {}}, vars(NUMBERS))
        except (ZeroDivisionError, OverflowError):
            return
        try:
            relation = parse_claim(f"{text} <= 1")(layer)
        except UserError:
            return  # a constant divided by zero: Python raised as well, or met it as a float
    assert isinstance(relation, Relation)
    assert float(np.ravel(relation.left)[0]) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def layer():
    rng = np.random.default_rng(3)
    y, g, s = rng.normal(size=(3, 5))
    a = rng.normal(size=(5, 5))
    return BatchNormLayer(
        y, g, a + a.T, gamma=1.2, beta=0.3, eps=0.1, free={"s": s, "a": np.array([0.7]), "K": a @ a.T}
    )


MEANINGS = {
    "dot(grad, y_hat)": lambda x: x.dot(x.grad, x.y_hat),
    "norm2(input_grad - gamma/sigma*grad)": lambda x: x.norm2(x.input_grad - x.gamma / x.sigma * x.grad),
    "dot(one, hess(grad))": lambda x: x.dot(x.one, x.hess(x.grad)),
    "dot(y, input_hess(s))": lambda x: x.dot(x.y, x.input_hess(x.vector("s"))),
    "a*norm2(K(s))/3": lambda x: x.scalar("a") * x.norm2(x.operator("K")(x.vector("s"))) / 3,
    "sqrt(norm2(centre(grad)))": lambda x: np.sqrt(x.norm2(x.grad - x.grad.mean())),
    "batch_mean(y)": lambda x: x.mu,
    "norm2(standardise(y))": lambda x: x.norm2(x.y_hat),
    "gamma_grad + beta_grad": lambda x: x.gamma_grad + x.beta_grad,
    "sqrt(m)*1/3": lambda x: np.sqrt(x.m) / 3,
}


@pytest.mark.parametrize("text", MEANINGS)
def test_meaning_over_a_layer(text):
    relation = parse_claim(f"{text} <= 0", scalars=["a"], vectors=["s"], operators=["K"])(layer())
    expected = np.ravel(MEANINGS[text](layer()))[0]
    assert float(np.ravel(relation.left)[0]) == pytest.approx(float(expected), rel=1e-12)


def test_numbers_are_exact():
    from bntheory.judges.exact.radicals import Radical

    exact = SimpleNamespace(gamma=np.array([Radical(Fraction(1))], dtype=object), m=3)
    relation = parse_claim("gamma*0.1 + 1/m == 1e-1 + 1/3")(exact)
    assert (relation.left - relation.right)[0].sign() == 0


def shape(statement):
    if isinstance(statement, Relation):
        return statement.op
    word = "and" if isinstance(statement, AllOf) else "or"
    assert isinstance(statement, (AllOf, AnyOf))
    return (word, *map(shape, statement.parts))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 <= m < 9", ("and", "le", "lt")),
        ("m <= 2 or m >= 3 and m < 5", ("or", "le", ("and", "le", "lt"))),
        ("not m <= 2", "lt"),
        ("not (m <= 2 and m < 3)", ("or", "lt", "le")),
        ("not not m == 2", "eq"),
        ("m != 2", ("or", "lt", "lt")),
        ("not 1 <= m < 9", ("or", "lt", "le")),
        ("grad == y", "eq"),
        ("grad == 0", "eq"),
        ("0 == grad", "eq"),
        ("grad != y", "lt"),
        ("not grad == 0", "lt"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_statements(text, expected):
    assert shape(parse_claim(text)(layer())) == expected


def test_free_names_cannot_hide_the_vocabulary():
    for name in ("gamma", "dot", "not"):
        with pytest.raises(UserError, match=f"'{name}' has the name"):
            parse_claim("m <= 1", scalars=[name])


def test_a_claim_of_an_expression_declares_its_domain():
    domain = LayerDomain(eps="zero", scalars={"a": "positive"}, vectors=("e@case",))
    claim = claim_of_expression("a*dot(e@case, y_hat)**2 <= a*(m - 1)", ["a <= 2"], domain)
    assert claim.domain == domain
    assert claim.check.names == ("a", "dot", "e@case", "m", "y_hat")
    with pytest.raises(UserError, match="column 1: unknown name 'b'"):
        claim_of_expression("b <= 1", domain=domain)
    with pytest.raises(UserError, match="column 6: unknown name"):
        claim_of_expression("m <= 1", ["m <= bb"], domain)


def test_trees_know_their_columns():
    tree = parse("norm2(grad) <= 1")
    assert tree.column == 12
    assert re.fullmatch(r"Compare\(.*", repr(tree))


def test_a_typed_claim_is_shown_as_it_was_typed():
    """In LaTeX, with what TeX takes for its own escaped and nothing else changed."""
    typed = claim_of_expression("norm2(my_v)**2 >= 0", domain=LayerDomain(vectors=("my_v",)))
    assert typed.statement == r"\texttt{norm2(my\_v)**2 >= 0}"


def test_what_a_claim_prints_is_shown_once(capsys):
    def check(layer):
        print("called")
        return ge(layer.norm2(layer.grad), 0)

    assert answers_differently(check, LayerDomain()) == ""
    assert capsys.readouterr().out == "called\n"
