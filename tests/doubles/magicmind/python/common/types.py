"""From numpy's dtypes to the SDK's, and back."""

from magicmind_double.basics import get_datatype_by_numpy, get_numpy_dtype_by_datatype

__all__ = ["get_datatype_by_numpy", "get_numpy_dtype_by_datatype"]
