"""A page of captured pictures to look through and to label: one file, which opens anywhere and asks nobody for anything.

The browser writes what was chosen to labels.csv, which `eyas captured MODEL --labels` takes back.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from eyas._capture import CapturedPicture
from eyas._command.words import percent, when
from eyas._errors import EyasError

_KINDS: Final = {b"\xff\xd8": "jpeg", b"\x89P": "png", b"RI": "webp"}
_STYLE: Final = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 0; background: #f4f4f2; color: #222 }
header { position: sticky; top: 0; background: #fff; padding: .7em 1.2em; border-bottom: 1px solid #ddd; display: flex;
  gap: 1.2em; align-items: center; flex-wrap: wrap }
h1 { font-size: 1.1em; margin: 0 } main { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 1em;
  padding: 1.2em } figure { margin: 0; background: #fff; border: 1px solid #ddd; border-radius: 6px; overflow: hidden }
figure.named { border-color: #2a7d46; box-shadow: 0 0 0 1px #2a7d46 } img { width: 100%; height: 210px; object-fit: contain;
  background: #e9e9e6; display: block } figcaption { padding: .6em .8em } .why { color: #666; font-size: .87em }
input { width: 100%; box-sizing: border-box; font: inherit; padding: .3em .5em; margin-top: .4em } button { font: inherit;
  padding: .4em .9em } code { font-size: .85em; color: #666 }
"""
_SCRIPT: Final = """
"use strict";
const fields = [...document.querySelectorAll("input[data-id]")];
const quoted = text => /[",\\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
function count() {
  let named = 0;
  for (const field of fields) {
    const has = field.value.trim() !== "";
    field.closest("figure").classList.toggle("named", has);
    named += has;
  }
  document.getElementById("count").textContent = named + " of " + fields.length + " labelled";
}
document.querySelector("main").addEventListener("click", event => {
  if (event.target.matches("button[data-label]")) {
    const field = event.target.closest("figure").querySelector("input");
    field.value = event.target.dataset.label;
    count();
  }
});
document.addEventListener("input", count);
document.getElementById("save").addEventListener("click", () => {
  const rows = fields.filter(field => field.value.trim()).map(field => field.dataset.id + "," + quoted(field.value.trim()));
  const link = document.createElement("a");
  link.href = "data:text/csv;charset=utf-8," + encodeURIComponent(["id,label", ...rows].join("\\n") + "\\n");
  link.download = "labels.csv";
  link.click();
});
count();
"""


def write(path: Path, model: str, labels: Sequence[str], pictures: Iterable[tuple[CapturedPicture, bytes]]) -> int:
    """Writes the page, and returns how many pictures are on it.

    Args:
        path: of the file.
        model: whose pictures they are.
        labels: that are proposed.
        pictures: with their files.

    Raises:
        EyasError: it cannot be written.
    """
    figures = [_figure(picture, content) for picture, content in pictures]
    proposed = "".join(f'<option value="{html.escape(label)}">' for label in labels)
    title = html.escape(f"Captured pictures of {model}")
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'\">"
        f'<title>{title}</title><style>{_STYLE}</style></head><body><header><h1>{title}</h1><span id="count"></span>'
        '<button id="save">Save labels.csv</button>'
        f"<code>eyas captured {html.escape(model)} --labels labels.csv</code></header>"
        f'<datalist id="labels">{proposed}</datalist><main>{"".join(figures)}</main><script>{_SCRIPT}</script></body></html>\n'
    )
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise EyasError(f"The page cannot be written to {path}: {error.strerror}.", reason="UNWRITABLE_FILE") from None
    return len(figures)


def _figure(picture: CapturedPicture, content: bytes) -> str:
    """Returns the part of the page for a picture. Names come from folders of pictures, so each is escaped."""
    kind = _KINDS.get(content[:2], "png")
    best = picture.predictions[0]
    label = "|".join(picture.labels.labels) if picture.labels else ""
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    choices = "".join(
        f'<button type="button" data-label="{html.escape(one.label)}">{html.escape(one.label)} {percent(one.probability)}</button> '
        for one in picture.predictions[:3]
    )
    why = ", ".join(reason.replace("_", " ") for reason in picture.reasons)
    shadow = f"; the shadow says {html.escape(picture.shadow_label)}" if picture.shadow_label else ""
    return (
        f'<figure><img src="{source}" alt="{html.escape(best.label)}" loading="lazy"><figcaption>{choices}'
        f'<input data-id="{html.escape(picture.id)}" list="labels" placeholder="label" aria-label="label" '
        f'value="{html.escape(label)}">'
        f'<div class="why">{html.escape(why)}{shadow}; {html.escape(picture.version)}, {when(picture.create_time)}</div>'
        f"<code>{html.escape(picture.id)}</code></figcaption></figure>"
    )
