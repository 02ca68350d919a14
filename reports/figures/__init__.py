"""Figures of a report: drawn by matplotlib, inlined as SVG that follows the page's theme."""
