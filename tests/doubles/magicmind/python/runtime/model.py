"""The model's class, for isinstance."""

from magicmind_double.running import Model

__all__ = ["Model"]
