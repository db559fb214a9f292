"""The shell of a page: one HTML file with its style, its script and its data, which opens without a network connection.

The policy in its head lets nothing be fetched, and no script or style run but the two in the file, by their digests.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from mpsearch.report.stylesheet import style_sheet

__all__ = ["document"]

_WEB = Path(__file__).parent / "web"
_SCRIPTS = ("chart.js", "explorer.js", "page.js")


def document(title: str, body: str, data: Mapping[str, Any]) -> str:
    """The text of a page.

    Args:
        title: plain text.
        body: HTML.
        data: what the script is told: `charts` (id → specifications), `explorer` (see `explorer_data`) or None.
    """
    style = style_sheet()
    script = f'(() => {{\n"use strict";\n{"".join((_WEB / name).read_text(encoding="utf-8") for name in _SCRIPTS)}}})();\n'
    # Within an element that is no script, "<" cannot open one; JSON spells it out all the same.
    told = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c").replace("&", "\\u0026")
    told = told.encode("utf-8", "backslashreplace").decode("utf-8")
    policy = f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)} · mpsearch</title>
<style>{style}</style>
</head>
<body>
<div class="wrap">
{body}
</div>
<script type="application/json" id="data">{told}</script>
<script>{script}</script>
</body>
</html>
"""


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
