"""Enumerations that are not at the top level."""

from magicmind_double.basics import ILogic

__all__ = ["ILogic"]
