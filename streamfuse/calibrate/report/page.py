"""The report as one HTML page that needs nothing beside it; light and dark as the reader's system is."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import cv2
import numpy as np

from streamfuse.calibrate.report.contents import Contents
from streamfuse.calibrate.report.drawing import DARK, LIGHT, Drawing
from streamfuse.calibrate.report.overlays import Overlay, named
from streamfuse.calibrate.report.words import Verdict
from streamfuse.errors import StreamfuseError
from streamfuse.frames import Pixels

JPEG_QUALITY = 88
MARKS = {
    "pass": "✓ pass",
    "provisional": "△ provisional",
    "unchecked": "? not checked",
    "unknown": "? residual unknown",
}
STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1f2328; --faint: #d0d7de; --ground: #f4f6f8;
  --soft: #57606a; --pass: #116329; --provisional: #8a4b00; --unchecked: #424a53; --unknown: #424a53 }
@media (prefers-color-scheme: dark) { :root { --paper: #161b22; --ink: #e6edf3; --faint: #3b434d; --ground: #0d1117;
  --soft: #9ea7b3; --pass: #7ee787; --provisional: #ffb757; --unchecked: #c9d1d9; --unknown: #c9d1d9 } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 78em; padding: 1.2em; color: var(--ink);
  background: var(--ground) }
h1 { font-size: 1.6em; margin: 0 0 .4em; overflow-wrap: anywhere } h2 { font-size: 1.2em; margin: 1.6em 0 .6em }
.verdict { border-left: 6px solid var(--mark); background: var(--paper); padding: .8em 1em; margin: 1em 0 }
.verdict b { color: var(--mark); font-size: 1.25em; display: block }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24em), 1fr)); gap: 1em;
  align-items: start }
.pairs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30em), 1fr)); gap: 1em }
figure { margin: 0; background: var(--paper); border: 1px solid var(--faint); border-radius: 6px; padding: .7em }
figcaption { color: var(--soft); font-size: 13px; margin-top: .4em }
img { width: 100%; height: auto; display: block }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: 14px; background: var(--paper) }
th, td { border: 1px solid var(--faint); padding: .25em .7em; text-align: left; font-variant-numeric: tabular-nums }
ul { padding-left: 1.3em } footer { color: var(--soft); font-size: 13px; margin-top: 2em }
"""


def html_page(contents: Contents) -> str:
    """The whole page."""
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>rig {escape(contents.rig.name)}</title><style>{STYLE}</style></head><body>",
        f"<h1>Rig {escape(contents.rig.name)}</h1>",
        _verdict(contents.verdict),
        _table(contents.facts),
        f"<h2>Where the cameras are</h2>{_list(contents.geometry)}",
        *_parallax(contents),
        *_overlays(contents),
        *_residuals(contents),
        f"<footer>{escape(contents.made_by)}</footer></body></html>\n",
    ]
    return "\n".join(parts)


def _verdict(verdict: Verdict) -> str:
    why = _list(verdict.reasons) if verdict.reasons else ""
    return (
        f"<div class='verdict' style='--mark: var(--{verdict.word})'><b>{MARKS[verdict.word]}</b>"
        f"{escape(verdict.sentence)}{why}</div>"
    )


def _parallax(contents: Contents) -> list[str]:
    head = "<h2>Objects at other depths</h2>"
    if contents.parallax is None:
        return [head, f"<p>{escape(contents.parallax_lines[0])}</p>"]
    words = _list(contents.parallax_lines) + _table(contents.parallax_rows, headed=True)
    return [head, f"<div class='cards'>{_drawing(contents.parallax)}<div>{words}</div></div>"]


def _overlays(contents: Contents) -> list[str]:
    if not contents.overlays:
        return []
    return [f"<h2>Before and after</h2><p>{escape(contents.overlay_words)}</p>", *map(_overlay, contents.overlays)]


def _overlay(overlay: Overlay) -> str:
    pictures = "".join(
        f"<figure><img alt='{escape(caption)}' src='{_jpeg(image)}'><figcaption>{escape(caption)}</figcaption></figure>"
        for caption, image in named(overlay)
    )
    return f"<h3>{escape(overlay.name)}</h3><div class='pairs'>{pictures}</div>"


def _residuals(contents: Contents) -> list[str]:
    if not contents.residuals:
        return []
    parts = [f"<h2>What solving left over</h2><div class='cards'>{''.join(map(_drawing, contents.residuals))}</div>"]
    if contents.parameters:
        parts.append(f"<h2>Parameters</h2><p>{escape(contents.parameter_words)}</p>")
        parts.append(_table(contents.parameters, headed=True))
    if contents.remarks:
        parts.append(f"<h2>Left out and tried</h2>{_list(contents.remarks)}")
    return parts


def _drawing(drawing: Drawing) -> str:
    light, dark = (base64.b64encode(drawing.png(theme)).decode() for theme in (LIGHT, DARK))
    return (
        f"<figure><picture><source media='(prefers-color-scheme: dark)' srcset='data:image/png;base64,{dark}'>"
        f"<img alt='{escape(drawing.title)}' src='data:image/png;base64,{light}'></picture>"
        f"<figcaption>{escape(drawing.about)}</figcaption></figure>"
    )


def _table(rows: Sequence[Sequence[str]], *, headed: bool = False) -> str:
    lines = [
        "<tr>" + "".join(f"<{_cell(at, headed)}>{escape(text)}</{_cell(at, headed)}>" for text in row) + "</tr>"
        for at, row in enumerate(rows)
    ]
    return f"<div class='wide'><table>{''.join(lines)}</table></div>"


def _cell(row: int, headed: bool) -> str:
    return "th" if headed and row == 0 else "td"


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _jpeg(image: Pixels) -> str:
    good, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not good:
        raise StreamfuseError("an overlay could not be written as JPEG")
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
