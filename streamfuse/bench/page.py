"""The report as one HTML page that needs nothing beside it: tables, pictures inside, machine and protocol."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from streamfuse.bench.report import Grid, grids, machine_line, notes

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222 }
.wide { overflow-x: auto } table { border-collapse: collapse; margin: 1em 0; font-size: 13px }
th, td { border: 1px solid #ccc; padding: .25em .6em; text-align: left }
img { max-width: 100%; display: block; margin: 1em 0 } pre { font-size: 12px; overflow-x: auto }
"""


def write_page(told: Mapping[str, Any], pictures: Sequence[Path], path: Path) -> Path:
    """Write the page; its path."""
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'><title>streamfuse bench</title>",
        f"<style>{STYLE}</style><h1>streamfuse bench</h1>",
        f"<p>{escape(machine_line(told['machine']))}</p>",
        *(_grid(grid) for grid in grids(told)),
        *(f"<p>{escape(line)}</p>" for line in notes(told)),
        *(_image(picture) for picture in pictures),
        f"<h2>machine</h2><pre>{escape(json.dumps(told['machine'], indent=1))}</pre>",
        f"<h2>protocol</h2><pre>{escape(json.dumps(told['protocol'], indent=1))}</pre></html>\n",
    ]
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def _grid(grid: Grid) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in grid.heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in grid.rows)
    table = f"<div class='wide'><table><tr>{head}</tr>{body}</table></div>"
    return f"<h2>{escape(grid.title)}</h2>{table}<p>{escape(grid.about)}</p>"


def _image(path: Path) -> str:
    content = base64.b64encode(path.read_bytes()).decode()
    return f"<img alt='{escape(path.stem)}' src='data:image/png;base64,{content}'>"
