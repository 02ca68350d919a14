"""From a matplotlib figure to inline SVG: same bytes every time, themed by the page, safe to embed.

Figures are drawn in sentinel colours, which become CSS variables in the SVG, so that one drawing
serves light, dark and print. No `pyplot`: its global state grows and is shared between threads.
"""

from __future__ import annotations

import io
import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from reports.text.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


INK, MUTED, GRID, PAPER = "#010a01", "#020a02", "#030a03", "#040a04"
SERIES = ("#110a01", "#120a02", "#130a03", "#140a04", "#150a05")
"""Colours by meaning: the page decides how each looks in its theme."""
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--rule",
    PAPER: "--paper",
    **{colour: f"--s{number}" for number, colour in enumerate(SERIES, 1)},
}
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (9, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
WIDTH_IN = 8.0
POINTS = 72
"""SVG units per inch."""
_STYLE: dict[str, Any] = {
    "svg.hashsalt": "harness",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.usetex": False,
    "axes.unicode_minus": True,
    "font.family": ["sans-serif"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.labelsize": 9,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "path.simplify": False,
}
_FORBIDDEN = re.compile(
    r"<script|<foreignObject|\son[a-z]+\s*=|@import|href=\"(?!#)|url\((?!#)", re.IGNORECASE
)


_FRAME = re.compile(
    r"\A.*?<svg[^>]*>|<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", re.DOTALL
)


@dataclass(frozen=True)
class Data:
    """A figure's numbers as text, for readers who cannot or do not want to see it."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    omitted: int = 0
    """Rows left out because the table would be too long; the result files have them."""


@dataclass(frozen=True)
class Drawing:
    """One figure of the page, or the reason why it is not drawn."""

    key: str
    title: str
    caption: str
    svg: str | None = None
    missing: str | None = None
    data: Data | None = None


@contextmanager
def style() -> Iterator[None]:
    """Draw with this report's settings alone, whatever the user's style files say."""
    import matplotlib as mpl  # noqa: PLC0415 - heavy

    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)  # type: ignore[arg-type] # keys are checked when set
        # A name may hold any character; the reader's fonts, not matplotlib's, will show it.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing")
        yield


def figure(height_in: float, margins: tuple[float, float, float, float] | None = None) -> Figure:
    """Return an empty figure. Call inside `style`.

    Args:
        height_in: height in inches.
        margins: space for labels in inches: left, bottom, right, top. Without them a layout is
            computed that keeps all labels inside, which takes as long as drawing.
    """
    from matplotlib.figure import Figure as MatplotlibFigure  # noqa: PLC0415 - heavy

    size = (WIDTH_IN, height_in)
    if margins is None:
        made = MatplotlibFigure(figsize=size, layout="constrained")
        made.get_layout_engine().set(w_pad=0.06, h_pad=0.06)  # type: ignore[union-attr, call-arg]
        return made
    left, bottom, right, top = margins
    made = MatplotlibFigure(figsize=size)
    made.subplots_adjust(left / size[0], bottom / size[1], 1 - right / size[0], 1 - top / size[1])
    return made


def thousands(axis: Axis) -> None:
    """Write the numbers of a linear axis with thousands apart."""
    axis.set_major_formatter(lambda value, _: f"{value:,.10g}")


def to_svg(drawn: Figure, *, key: str, title: str, desc: str) -> str:
    """Return the figure as an `svg` element whose ids all begin with `key`.

    Raises:
        HarnessError: the SVG holds something that could act or load; a defect of the drawing code.
    """
    stream = io.StringIO()
    bare = {"Date": None, "Creator": None, "Format": None, "Type": None}
    drawn.savefig(stream, format="svg", metadata=bare)
    body = _FRAME.sub("", stream.getvalue())
    names = _names(body, key)
    # Only tags are rewritten: a label may look like anything.
    body = re.sub(r"<[^>]*>", lambda tag: _tag(tag.group(), names), body)
    body = re.sub(r">\s+<", "><", body).replace("<g/>", "").strip()
    box = f"0 0 {drawn.get_figwidth() * POINTS:g} {drawn.get_figheight() * POINTS:g}"
    if _FORBIDDEN.search(re.sub(r">[^<]+<", "><", body)):
        raise HarnessError(f"figure {key} holds markup that may not be embedded")
    return (
        f'<svg viewBox="{box}" role="img" aria-labelledby="{key}-t {key}-d">'
        f'<title id="{key}-t">{escape(plain(title))}</title>'
        f'<desc id="{key}-d">{escape(plain(desc))}</desc>{body}'
    )


def _names(svg: str, key: str) -> dict[str, str]:
    """Return a name beginning with `key` for each id that something refers to."""
    tags = "".join(re.findall(r"<[^>]*>", svg))
    used = sorted(set(re.findall(r'(?:xlink:href="|url\()#([^")]+)', tags)))
    return {name: f"{key}-{number}" for number, name in enumerate(used)}


def _tag(tag: str, names: dict[str, str]) -> str:
    """Rewrite one tag: prefixed ids, the page's colours and font, coordinates of 0.01 point."""
    tag = re.sub(
        r'\sid="([^"]*)"',
        lambda m: f' id="{names[m.group(1)]}"' if m.group(1) in names else "",
        tag,
    )
    tag = re.sub(r'xlink:href="#([^"]+)"', lambda m: f'href="#{names[m.group(1)]}"', tag)
    tag = re.sub(r"url\(#([^)]+)\)", lambda m: f"url(#{names[m.group(1)]})", tag)
    tag = re.sub(r' transform="rotate\(-?0 [^"]*"', "", tag)
    tag = re.sub(r'(?<=[\s"(-])\d+\.\d{3,}', lambda m: f"{float(m.group()):.2f}", tag)
    for colour, variable in _VARIABLES.items():
        tag = tag.replace(colour, f"var({variable})")
    tag = re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px", tag)
    return re.sub(r"font-family: [^;\"]*;?\s*", "", tag).replace("\n", " ")
