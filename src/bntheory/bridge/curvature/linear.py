"""A symmetric matrix known only by its products with vectors: what every spectral algorithm here works on.

Lives here: the base class, and a wrapper around any function so that each algorithm can be tested on a matrix whose
spectrum is known. Not here: networks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, overload

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor, finfo

from bntheory.bridge.arguments import checked
from bntheory.bridge.curvature.memory import require_room
from bntheory.bridge.curvature.selection import as_vector
from bntheory.errors import UserError

_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}


class SymmetricOperator(ABC):
    """A real symmetric matrix of shape (size, size) that answers products.

    ``products`` counts every product since construction.
    """

    size: int
    dtype: torch.dtype
    device: torch.device

    def __init__(self, size: int, dtype: torch.dtype, device: torch.device | str) -> None:
        if size < 1:
            raise UserError(f"size is {size}; an operator acts on vectors with at least one entry")
        if dtype not in _NUMPY:
            raise UserError(f"dtype is {dtype}; curvature needs float32 or float64 (half precision has no room for it)")
        # an empty tensor knows its device in full: "cuda" is "cuda:0" there
        self.size, self.dtype, self.device = size, dtype, torch.empty(0, device=device).device
        self.products = 0

    @abstractmethod
    def _product(self, v: Tensor) -> Tensor:
        """A v for a flat tensor of the operator's dtype and device."""

    @overload
    def matvec(self, v: Tensor) -> Tensor: ...
    @overload
    def matvec(self, v: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]: ...
    def matvec(self, v: Any) -> Any:
        """A v, as a flat vector of the kind (numpy or torch) that ``v`` is. Raises ValueError for a wrong ``v``."""
        result = self.apply(as_vector(v, self.size, self.dtype, self.device))
        return result if isinstance(v, Tensor) else result.cpu().numpy()

    def apply(self, v: Tensor) -> Tensor:
        """A v for a flat tensor that is known to fit; raises ValueError when the product is not finite."""
        self.products += 1
        result = self._product(v)
        # a finite sum has finite terms; the other way round it may overflow, so only then every entry is looked at
        if not bool(torch.isfinite(result.sum())) and not bool(torch.isfinite(result).all()):
            raise UserError(
                f"product {self.products} has entries that are not finite; the curvature overflows {self.dtype} "
                f"at this point. Look for a normalised feature of nearly zero variance, scale the loss down{self.or_float64()}"
            )
        return result

    def __call__(self, v: Any) -> Any:
        return self.matvec(v)

    def as_linear_operator(self) -> LinearOperator:
        """The operator for scipy's solvers; its ``matvec`` moves vectors between numpy and the device."""

        def matvec(v: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            return self.matvec(np.asarray(v))

        kind = _NUMPY[self.dtype]
        return LinearOperator((self.size, self.size), matvec=matvec, rmatvec=matvec, dtype=kind)

    def in_single_precision(self) -> SymmetricOperator | None:
        """The same matrix with products in float32, to be closed after use; None where there is none to be had."""
        return None

    def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of what products need."""

    def dense(self) -> np.ndarray[Any, Any]:
        """The whole matrix, one product a column; not symmetrised, so that a defect stays visible."""
        require_room(2 * self.size, self.size, self.dtype, self.device, "the whole matrix is large: use products")
        matrix = torch.empty((self.size, self.size), dtype=self.dtype, device=self.device)
        unit = torch.zeros(self.size, dtype=self.dtype, device=self.device)
        for column in range(self.size):
            unit[column] = 1.0
            matrix[:, column] = self.apply(unit)
            unit[column] = 0.0
        return matrix.cpu().numpy()

    def random_vector(self, generator: torch.Generator, *, signs: bool = False) -> Tensor:
        """A standard normal vector, or one of random signs, the same on every device for the same seed."""
        if signs:
            drawn = torch.randint(0, 2, (self.size,), generator=generator, device="cpu").to(self.dtype) * 2 - 1
        else:
            drawn = torch.randn(self.size, generator=generator, dtype=torch.float32, device="cpu").to(self.dtype)
        return drawn.to(self.device)

    def unit_rounding(self) -> float:
        """Rounding of a product relative to the operator's norm, where nothing is known but the dtype."""
        return 8 * float(finfo(self.dtype).eps)

    def rounding(self, vector: Tensor, needed: float) -> float:
        """How far rounding may move an eigenvalue, relative to the operator's norm; measured along this unit vector, if at all.

        needed: what is small enough, so that nothing need be measured where it is certain.
        """
        return self.unit_rounding()

    def symmetry_tolerance(self) -> float:
        """Largest defect that rounding explains: a product sums about ``size`` terms in each of two passes.

        Rounding errors of a sum grow like the square root of its length; the factor 100 leaves room for the depth
        of the network. Normalised features whose mean is far larger than their deviation lose digits on top of that, of which
        double precision has plenty. The wrong routes have defects of 1e-2.
        """
        return float(min(max(100 * finfo(self.dtype).eps * max(1.0, self.size) ** 0.5, 1e-8), 1e-3))

    def only_rounding(self) -> bool:
        """Whether the products are nothing but rounding, measured, if at all: so they are of a matrix that is zero, and not symmetric."""
        return False

    def require_symmetry(self, defect: float) -> None:
        """Raise ValueError when ``defect`` is beyond rounding: no spectrum may be reported."""
        tolerance = self.symmetry_tolerance()
        if not defect <= tolerance and not self.only_rounding():
            coarse = self.dtype != torch.float64
            raise UserError(
                f"the operator is not symmetric: relative defect {defect:.3g} where rounding explains {tolerance:.3g}. "
                "A second derivative in the model is wrong (a custom autograd.Function, a fused kernel), "
                + (
                    "the function changes between products, or float32 is too coarse here"
                    if coarse
                    else "or the function changes between products"
                )
                + ": compare normalisation='primitive'"
                + (" and dtype=torch.float64" if coarse else "")
            )

    def or_float64(self) -> str:
        """The end of an advice: to measure in float64, for who does not."""
        return "" if self.dtype == torch.float64 else ", or use dtype=torch.float64"


class FunctionOperator(SymmetricOperator):
    """Any function v -> A v with A symmetric, or a matrix, as an operator."""

    @checked
    def __init__(
        self,
        product: Callable[[Tensor], Tensor],
        size: int,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        single: SymmetricOperator | None = None,
    ) -> None:
        super().__init__(size, dtype, device)
        self._function, self._single = product, single

    def in_single_precision(self) -> SymmetricOperator | None:
        return self._single

    @classmethod
    def of_matrix(cls, matrix: Any, *, device: torch.device | str = "cpu") -> FunctionOperator:
        """The operator of a dense matrix (numpy or torch) of shape (size, size)."""
        tensor = torch.as_tensor(matrix, device=device)
        if tensor.dim() != 2 or tensor.shape[0] != tensor.shape[1]:
            raise UserError(f"matrix has shape {tuple(tensor.shape)}; a symmetric one is square")
        return cls(lambda v: tensor @ v, tensor.shape[0], dtype=tensor.dtype, device=device)

    def _product(self, v: Tensor) -> Tensor:
        return self._function(v).detach()  # nobody differentiates a product: a user's function may keep its graph
