"""Text as Markdown and TeX take it, and rows of their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#"})
LATIN_END = "\u0100"
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "%": r"\%",
        "_": r"\_",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        # After the end of a row these two would be its options.
        "[": "{[}",
        "*": "{*}",
        "±": r"$\pm$",
        "–": "--",
        "—": "---",
        "·": r"\textperiodcentered{}",
        "µ": r"\textmu{}",
        "…": r"\dots{}",
    }
)


def markdown(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    return text.translate(_MARKDOWN)


def pipes(texts: Iterable[str]) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(map(markdown, texts))} |"


def ampersands(texts: Iterable[str]) -> str:
    """Return a row of a LaTeX table."""
    return f"{' & '.join(map(tex, texts))} \\\\"


def tex(text: str) -> str:
    """Return a text as every TeX engine reads it: other scripts in Latin letters, or as `?`."""
    from unidecode import unidecode  # noqa: PLC0415 - only where a name needs it

    done = text.translate(_LATEX)
    return "".join(
        one if one < LATIN_END else unidecode(one).translate(_LATEX) or "?" for one in done
    )
