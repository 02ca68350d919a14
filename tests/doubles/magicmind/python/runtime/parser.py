"""The parser, in a module of its own."""

from magicmind_double.building import Parser

__all__ = ["Parser"]
