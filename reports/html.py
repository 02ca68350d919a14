"""One self-contained HTML file: template, style, script and figures in a single document."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import TYPE_CHECKING

from reports.text import plain, plain_lines

if TYPE_CHECKING:
    from jinja2 import Environment

    from harness.compare import Comparison
    from reports.trials import SweepView


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


def page_html(sweep: SweepView) -> str:
    """Return the report of a sweep; the same sweep gives the same bytes."""
    from reports import island, page  # noqa: PLC0415 - heavy

    built = page.build(sweep)
    packed = island.pack(built.further)
    return _render(
        "report.html.j2", page=built, island=packed.text, island_packed=packed.compressed
    )


def comparison_html(found: Comparison) -> str:
    """Return the page of a comparison; the same comparison gives the same bytes."""
    from reports import compared  # noqa: PLC0415 - heavy

    return _render("comparison.html.j2", page=compared.build(found), island="")
