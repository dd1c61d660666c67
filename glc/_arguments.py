# SPDX-License-Identifier: Apache-2.0
"""What callers pass to the coder, as the native module takes it, or an error that says why not."""

from __future__ import annotations

import operator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from glc.errors import InvalidArgumentError

Int32Array: TypeAlias = npt.NDArray[np.int32]
"""Any shape; flat order is row-major."""

_ROW_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.int32))


def in_range(name: str, value: Any, low: int, high: int) -> int:
    """Return value, an integer in low..high: the native module takes no other numbers."""
    try:
        value = operator.index(value)
    except TypeError as error:
        raise InvalidArgumentError(
            f"{name}: expected an integer, got {type(value).__name__}"
        ) from error
    if not low <= value <= high:
        raise InvalidArgumentError(f"{name}: expected {low}..{high}, got {value}")
    return value


def as_array(values: Any, name: str, kinds: str = "iu", *, op: str = "rans") -> npt.NDArray[Any]:
    """Borrow values as a contiguous array of these kinds of dtype; integers unless told.

    Where they lie at odd addresses, as behind a header of bytes, they are copied.
    """
    try:
        if not hasattr(values, "__array__") and hasattr(values, "__dlpack__"):
            values = np.from_dlpack(values)
        array = np.asarray(values)
    except (TypeError, ValueError, BufferError, RuntimeError) as error:  # ragged, or of a GPU
        raise InvalidArgumentError(f"{op}: {name}: expected a CPU array: {error}") from error
    if array.size == 0 and not isinstance(values, np.ndarray):
        array = array.astype(np.int32)
    if array.dtype.kind not in kinds:
        wanted = "integers" if kinds == "iu" else "numbers"
        raise InvalidArgumentError(f"{op}: {name}: expected {wanted}, got dtype {array.dtype}")
    array = np.ascontiguousarray(array) if array.ndim else array
    return array if array.flags.aligned else array.copy()


def as_floats(values: Any, name: str, dtype: npt.DTypeLike, *, op: str) -> npt.NDArray[Any]:
    """Borrow or convert numbers; one too large for the dtype becomes infinite, as it would in C."""
    array = as_array(values, name, "iuf", op=op)
    with np.errstate(over="ignore"):
        return array.astype(dtype, copy=False)


def as_flag(name: str, value: Any) -> bool:
    """Return value as a bool: True or False, Python's or numpy's, or the integers 1 and 0."""
    if not isinstance(value, (int, np.bool_, np.integer)) or int(value) not in (0, 1):
        raise InvalidArgumentError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def as_int32(values: Any, name: str) -> Int32Array:
    """Borrow values as int32, or copy other integers that fit."""
    array = as_array(values, name)
    if array.dtype == np.int32:
        return array
    info = np.iinfo(np.int32)
    if array.size and not np.can_cast(array.dtype, np.int32):
        low, high = int(array.min()), int(array.max())
        if low < info.min or high > info.max:
            raise InvalidArgumentError(
                f"rans: {name}: expected values in the int32 range, got {low}..{high}"
            )
    return array.astype(np.int32)


def as_rows(rows: Any) -> int | npt.NDArray[Any]:
    """Rows as the native coder takes them: a number, or uint8, uint16 or int32."""
    if not isinstance(rows, int):
        # Not operator.index: a tensor with one element has it too, and is an array here.
        array = as_array(rows, "rows")
        if array.ndim:
            return array if array.dtype in _ROW_DTYPES else as_int32(array, "rows")
        rows = array
    row = int(rows)
    if not -(2**31) <= row < 2**31:
        raise InvalidArgumentError(f"rans: rows: expected a table row, got {row}")
    return row


def as_bytes(data: Any, name: str) -> Any:
    """Borrow bytes: an object with a buffer as it is, a uint8 tensor through numpy."""
    try:
        memoryview(data)
    except TypeError as error:
        if not (hasattr(data, "__array__") or hasattr(data, "__dlpack__")):
            raise InvalidArgumentError(
                f"{name}: expected a bytes-like object, got {type(data).__name__}"
            ) from error
    except (BufferError, ValueError):  # a buffer, but an odd one: the native module says which
        pass
    else:
        return data
    array = as_array(data, name.split(": ")[-1])
    if array.dtype.itemsize != 1:
        raise InvalidArgumentError(f"{name}: expected bytes, got dtype {array.dtype}")
    return array
