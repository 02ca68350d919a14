"""One self-contained HTML file: template, style, script and figures in a single document."""

from __future__ import annotations

import base64
import hashlib
import os.path
from importlib import resources
from typing import TYPE_CHECKING
from urllib.parse import quote

from reports.text.plain import plain, plain_lines

if TYPE_CHECKING:
    from pathlib import Path

    from jinja2 import Environment

    from harness.judging.comparison import Comparison
    from reports.views.points import SweepView


def _asset(name: str) -> str:
    return resources.files("reports").joinpath("templates", name).read_text("utf-8")


def _plain_lines(text: str) -> str:
    return plain_lines(text.rstrip("\n"))


def _capfirst(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentence(text: str) -> str:
    """Begin with a capital unless the first word is code, and end with a full stop."""
    if not text:
        return ""
    first = text.split(maxsplit=1)[0]
    begun = _capfirst(text) if first.rstrip(",:;").isalpha() else text
    return begun if begun[-1] in ".!?" else f"{begun}."


def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined  # noqa: PLC0415 - heavy

    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "plain": plain,
        "plain_lines": _plain_lines,
        "capfirst": _capfirst,
        "sentence": _sentence,
    }
    return environment


def script_hash(script: str) -> str:
    """Return what a content-security policy calls a script: base64 of its SHA-256."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _render(template: str, **values: object) -> str:
    environment = _environment()
    script = _asset("report.js").strip() + "\n"
    return environment.get_template(template).render(
        style=environment.get_template("report.css").render(),
        script=script,
        script_hash=script_hash(script),
        **values,
    )


def address(path: Path | None, place: Path | None) -> str | None:
    """Return the address of a file for a page in the folder `place`; None where either is."""
    if path is None or place is None:
        return None
    return quote(os.path.relpath(path.resolve(), place.resolve()))


def page_html(sweep: SweepView, place: Path | None = None) -> str:
    """Return the report of a sweep; the same sweep gives the same bytes.

    Args:
        sweep: the points.
        place: the folder the page is written to, for its links to other files; None: no links.
    """
    from reports.pages import compact_points  # noqa: PLC0415 - heavy
    from reports.pages import sweep as page  # noqa: PLC0415 - heavy

    built = page.build(sweep, comparison=address(sweep.beside.page, place))
    packed = compact_points.pack(built.further, built.names)
    return _render(
        "report.html.j2", page=built, island=packed.text, island_packed=packed.compressed
    )


def comparison_html(found: Comparison, sweep: str | None = None) -> str:
    """Return the page of a comparison; the same comparison gives the same bytes.

    Args:
        found: the comparison.
        sweep: address of the page of the sweep it is of; None: no link.
    """
    from reports.pages import comparison  # noqa: PLC0415 - heavy

    return _render("comparison.html.j2", page=comparison.build(found, sweep), island="")
