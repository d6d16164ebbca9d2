"""A page that shows what a command found: tables, pictures and the command, in one file that needs no network."""

from __future__ import annotations

import base64
import html
import math
from pathlib import Path

from dnnlib_compat.util import atomic_output

TYPES = {".png": "image/png", ".webp": "image/webp", ".gif": "image/gif"}
STYLE = """
body { font: 15px/1.5 sans-serif; color: #222; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
pre { background: #f3f3f3; padding: .6rem .8rem; overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0 1.2rem; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid #ddd; padding: .2rem .7rem .2rem 0; text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; } img { max-width: 100%; border: 1px solid #ddd; }
figcaption { color: #666; font-size: .85em; }
"""
DIGITS = 5  # of a number in a table


class Report:
    """An HTML page, part by part; all text is escaped, pictures stand in the page itself, and there is no script.

    title: of the page; command: the command line that made it, or None.

    >>> page = Report("Samples", "gen_images --seeds=0-3")
    >>> page.table([dict(seed=0, rho=0.5), dict(seed=1, rho=None)])
    >>> "<td class=number>0.5</td>" in page.text()
    True
    """

    def __init__(self, title, command=None):
        self.title, self._parts = title, []
        if command is not None:
            self._parts.append(f"<pre>{escaped(command)}</pre>")

    def heading(self, text):
        """A heading of a part."""
        self._parts.append(f"<h2>{escaped(text)}</h2>")

    def paragraph(self, text):
        """A paragraph of plain text."""
        self._parts.append(f"<p>{escaped(text)}</p>")

    def table(self, rows):
        """A table of dicts; columns are their keys in the order of first sight. Nested dicts are flattened."""
        rows = [flat(row) for row in rows]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        head = "".join(f"<th>{escaped(column)}</th>" for column in columns)
        body = "".join(f"<tr>{''.join(cell(row.get(column)) for column in columns)}</tr>" for row in rows)
        self._parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")

    def facts(self, values):
        """A table of {name: value}, a line each."""
        body = "".join(f"<tr><th>{escaped(name)}</th>{cell(value)}</tr>" for name, value in flat(values).items())
        self._parts.append(f"<table><tbody>{body}</tbody></table>")

    def picture(self, path, caption=""):
        """A picture from a .png, .webp or .gif file. Raises OSError when it cannot be read."""
        path = Path(path)
        data = base64.b64encode(path.read_bytes()).decode()
        source = f"data:{TYPES[path.suffix.lower()]};base64,{data}"
        text = f"<figcaption>{escaped(caption or path.name)}</figcaption>"
        self._parts.append(f'<figure><img alt="{escaped(caption or path.name)}" src="{source}">{text}</figure>')

    def text(self):
        """The page as HTML."""
        title, body = escaped(self.title), "\n".join(self._parts)
        head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body><h1>{title}</h1>\n{body}\n</body></html>\n'

    def save(self, path):
        """Write the page, atomically."""
        with atomic_output(path) as tmp:
            tmp.write_text(self.text(), encoding="utf-8", errors="replace")


def escaped(text):
    """Text as it may stand between tags and in attributes."""
    return html.escape(str(text), quote=True)


def flat(values, prefix=""):
    """A dict without nested ones: their keys stand behind their own, with a dot."""
    found = {}
    for name, value in values.items():
        name = f"{prefix}{name}"
        found |= flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def cell(value):
    """A cell of a table."""
    if isinstance(value, bool) or value is None:
        return f"<td>{dict([(True, 'yes'), (False, 'no'), (None, '')])[value]}</td>"
    if isinstance(value, (int, float)):
        shown = f"{value:.{DIGITS}g}" if isinstance(value, float) and math.isfinite(value) else str(value)
        return f"<td class=number>{escaped(shown)}</td>"
    if isinstance(value, (list, tuple)):
        value = ", ".join(f"{each:.{DIGITS}g}" if isinstance(each, float) else str(each) for each in value)
    return f"<td>{escaped(value)}</td>"
