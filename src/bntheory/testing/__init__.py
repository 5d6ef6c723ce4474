"""For other people's test suites: hypothesis strategies for normalisation layers, and :func:`assert_claim`.

Test your own code over layers that do not degenerate by accident:

>>> from hypothesis import given, settings
>>> from bntheory import LayerDomain
>>> from bntheory.testing import layers
>>> @settings(max_examples=20, database=None)
... @given(layers(LayerDomain(eps="zero")))
... def test_gradient_has_no_mean(layer):
...     size = abs(layer.gamma / layer.sigma * layer.grad).sum()  # of the terms: the gradient itself may be zero
...     assert abs(layer.input_grad.sum()) <= 1e-12 * layer.m * size
>>> test_gradient_has_no_mean()

Or state the claim and let it be attacked; a failure shows the smallest layer that was found, decided without rounding:

>>> from bntheory import eq, le
>>> from bntheory.testing import assert_claim
>>> assert_claim(lambda x: eq(x.dot(x.one, x.input_grad), 0))
>>> assert_claim(lambda x: le(x.norm2(x.y_hat), x.m - 1))  # doctest: +ELLIPSIS
Traceback (most recent call last):
    ...
AssertionError: ... fails at m = 2: ...

A claim can be typed as well, and be decided at one layer of one's own:

>>> from bntheory import BatchNormLayer
>>> assert_claim("norm2(input_grad) <= gamma**2/sigma**2 * norm2(grad)")
>>> assert_claim("norm2(y_hat) <= m", BatchNormLayer([1.0, 2.0, 4.0], eps=0.1))
"""

from bntheory.testing.assertion import assert_claim, instance_of
from bntheory.testing.strategies import batches, gradients, hessians, layers, operators, scalars

__all__ = ["assert_claim", "batches", "gradients", "hessians", "instance_of", "layers", "operators", "scalars"]
