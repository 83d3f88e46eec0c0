"""Where the rows of a fit live and who multiplies them: NumPy with threads, or torch on a device.

The loss (`losses`) is written once, against the functions that NumPy and torch share; what they do not share is
here.

Layer: imports NumPy, estimators.arrays and estimators.eigenrows; torch inside TorchArrays only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DeviceError
from embedkit.estimators.arrays import Float64, Floats, Item, MapFunction, Result, row_spans
from embedkit.estimators.eigenrows import EigenRows

DEVICE_ROWS = 65_536
"""Rows in one piece on a device: enough to fill it, little enough that 1,000 logits a row fit its memory."""


class RowArrays(Protocol):
    """Rows, arrays of one work type beside them, and loops over spans of rows.

    Attributes
    ----------
    xp : module
        numpy or torch.
    work : dtype of `xp`
        The floating type of the heavy arithmetic.
    spans : list of slice
    """

    xp: Any
    work: Any
    spans: list[slice]

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """Give an array of zeros of the work type."""
        ...

    def working(self, values: Float64) -> Any:
        """Bring numbers to where the rows are, in the work type."""
        ...

    def integers(self, values: NDArray[np.intp]) -> Any:
        """Bring integers to where the rows are."""
        ...

    def block(self, span: slice) -> Any:
        """Give centred rows in the work type."""
        ...

    def float64(self, array: Any) -> Float64:
        """Bring an array back to NumPy, as float64."""
        ...

    def each(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterable[Result]:
        """Apply a function to every item, one a span; results come in the order of the items."""
        ...

    def promote(self) -> bool:
        """Make float64 the work type; False if it is already."""
        ...


class NumpyArrays:
    """Rows in the memory of the machine, spans of them worked on in threads.

    Parameters
    ----------
    features : EigenRows
    n_rows : int
    threads : MapFunction
    """

    xp: Any = np

    def __init__(self, features: EigenRows, n_rows: int, threads: MapFunction) -> None:
        self._features = features
        self._threads = threads
        self.work = features.rows.dtype
        self.spans = row_spans(n_rows)

    def zeros(self, shape: tuple[int, ...]) -> Floats:
        """See RowArrays."""
        return np.zeros(shape, self.work)

    def working(self, values: Float64) -> Floats:
        """See RowArrays."""
        return values.astype(self.work)

    def integers(self, values: NDArray[np.intp]) -> NDArray[np.intp]:
        """See RowArrays."""
        return values

    def block(self, span: slice) -> Floats:
        """See RowArrays."""
        return self._features.block(span, self.work)

    def float64(self, array: Floats) -> Float64:
        """See RowArrays."""
        return array.astype(np.float64)

    def each(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterable[Result]:
        """See RowArrays."""

        def quietly(item: Item) -> Result:
            # BLAS's kernels may set this flag in lanes that they throw away (numpy#24067). What truly is not a number
            # reaches loss and gradient, and such a fit does not count as converged.
            with np.errstate(invalid="ignore"):
                return function(item)

        return self._threads(quietly, items)

    def promote(self) -> bool:
        """See RowArrays."""
        if self.work == np.float64:
            return False
        self.work = np.dtype(np.float64)
        return True


class TorchArrays:
    """Rows on a torch device.

    Parameters
    ----------
    features : EigenRows
    n_rows : int
    device : str

    Raises
    ------
    DeviceError
        torch has no such device here.
    """

    def __init__(self, features: EigenRows, n_rows: int, device: str) -> None:
        import torch

        self.xp: Any = torch
        self.spans = [slice(i, min(i + DEVICE_ROWS, n_rows)) for i in range(0, n_rows, DEVICE_ROWS)]
        try:
            self._device: Any = torch.device(device)
            self._rows: Any = torch.as_tensor(features.selected(), device=self._device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).partition("\n")[0]
            raise DeviceError(f"device={device!r} is not available: {reason}; use device='cpu'") from error
        self.work: Any = self._rows.dtype
        self._offset: Any = None if features.offset is None else torch.as_tensor(features.offset, device=self._device)

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """See RowArrays."""
        return self.xp.zeros(shape, dtype=self.work, device=self._device)

    def working(self, values: Float64) -> Any:
        """See RowArrays."""
        return self.xp.as_tensor(values).to(device=self._device, dtype=self.work)

    def integers(self, values: NDArray[np.intp]) -> Any:
        """See RowArrays."""
        return self.xp.as_tensor(values, device=self._device)

    def block(self, span: slice) -> Any:
        """See RowArrays."""
        block = self._rows[span].to(self.work)
        return block if self._offset is None else block - self._offset.to(self.work)

    def float64(self, array: Any) -> Float64:
        """See RowArrays."""
        return array.double().cpu().numpy()

    def each(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterable[Result]:
        """See RowArrays."""
        return map(function, items)

    def promote(self) -> bool:
        """See RowArrays."""
        if self.work == self.xp.float64:
            return False
        self.work = self.xp.float64
        return True
