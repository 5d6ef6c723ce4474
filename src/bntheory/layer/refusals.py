"""The Python operations that have no meaning on the parts of a claim's layer, each with what to write in its place."""

from __future__ import annotations

_NO_TRUTH = (
    "has no truth value: a claim speaks of every layer at once. Write implies(hypothesis, conclusion) for 'if', all_of(...) for 'and', "
    "any_of(...) for 'or', negate(...) for 'not'"
)
_NO_ORDER = (
    "between parts of a claim is not recorded (min, max, sorted and a < b < c use it as well): write le(a, b), lt(a, b), and "
    "all_of(...) for several; max(a, b) <= c is all_of(le(a, c), le(b, c))"
)
_NO_NUMBER = "asks for a number, and a part of a claim has none: it stands for every layer. Square roots are sqrt(x), from bntheory import sqrt"
_NO_ENTRIES = (
    "asks for single entries: a vector has as many as the batch, whatever its size. dot(e, v) with a free vector e@case is an "
    "entry, layer.dot(layer.one, v) the sum"
)
_ABS = "|x| <= b is all_of(le(x, b), le(-x, b)), |x| >= b is any_of(ge(x, b), ge(-x, b)), and sqrt(x**2) is |x|"
_NO_WHOLE = "is no operation of real numbers in the vocabulary, which has + - * / ** and sqrt"

REFUSED = {
    **dict.fromkeys(("__lt__", "__le__", "__gt__", "__ge__"), "{op} " + _NO_ORDER),
    "__eq__": "== between parts of a claim is not recorded ('in' uses it as well): write eq(a, b), and implies(eq(a, b), ...) for 'if a == b'",
    "__ne__": "!= between parts of a claim is not recorded: write any_of(lt(a, b), lt(b, a)), or negate(eq(a, b))",
    "__bool__": "a part of a claim " + _NO_TRUTH,
    "__hash__": "a part of a claim cannot be hashed (a set, a key, a cache): it stands for every layer and equals nothing; eq(a, b) states an equality",
    **{
        f"__{f}__": f"{f}() " + _NO_NUMBER
        for f in ("float", "int", "complex", "index", "round", "trunc", "floor", "ceil")
    },
    **{f"__{f}__": f"{f}() " + _NO_ENTRIES for f in ("len", "iter", "reversed")},
    **dict.fromkeys(("__getitem__", "__setitem__", "__contains__"), "an index " + _NO_ENTRIES),
    "__abs__": "abs() is no word of the vocabulary: " + _ABS,
    **{
        f"__{r}{f}__": f"{s} {_NO_WHOLE}"
        for r in ("", "r")
        for f, s in (("floordiv", "//"), ("mod", "%"), ("divmod", "divmod()"))
    },
    **dict.fromkeys(
        ("__matmul__", "__rmatmul__"), "@ is written layer.dot(u, v) for vectors, layer.hess(v) for the Hessian"
    ),
    **{
        f"__{r}{f}__": "a bit operation is no word of the vocabulary: write all_of(...), any_of(...), negate(...)"
        for r in ("", "r")
        for f in ("and", "or", "xor", "lshift", "rshift")
    },
    "__invert__": "~ is written negate(statement)",
    "__rpow__": "an exponent that is a part of the layer: powers are whole numbers or halves, x**2",
    "__array__": "a numpy function of a part of a claim: write + - * / ** and sqrt from bntheory, layer.dot(u, v), layer.norm2(v)",
    "_sympy_": "a sympy function of a part of a claim: write + - * / ** and sqrt from bntheory",
    "_mpmath_": "an mpmath function of a part of a claim: write + - * / ** and sqrt from bntheory",
}
SIGNS = {"__lt__": "<", "__le__": "<=", "__gt__": ">", "__ge__": ">="}
