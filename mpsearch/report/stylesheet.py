"""The style sheet of the page: one light column that also prints; it loads no font or file."""

from __future__ import annotations

from mpsearch.report import palette

__all__ = ["STYLE"]

STYLE = f"""
:root {{ color-scheme: light; --ink: {palette.INK}; --muted: {palette.MUTED}; --line: #dde3ea;
  --accent: {palette.ACCENT}; --good: {palette.FLOAT}; --bad: {palette.BUDGET}; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: #f4f6f8; color: var(--ink); font: 16px/1.55 {palette.FONT}; }}
.wrap {{ max-width: 1120px; margin: 0 auto; padding: 0 24px 64px; }}
header {{ padding: 44px 0 8px; }}
h1 {{ font-size: 2rem; line-height: 1.2; margin: 0 0 6px; letter-spacing: -0.01em; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.3rem; line-height: 1.3; margin: 0 0 4px; }}
p {{ margin: 0 0 10px; max-width: 82ch; }}
.sub, .reading, figcaption, caption {{ color: var(--muted); }}
.sub {{ overflow-wrap: anywhere; }}
.headline {{ font-size: 1.15rem; margin: 18px 0 20px; max-width: 70ch; }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(290px, 1fr)); gap: 12px; margin: 0 0 16px; }}
.tile {{ background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }}
.tile dt {{ color: var(--muted); font-size: 0.86rem; }}
.tile dd {{ margin: 2px 0 0; font-size: 1.5rem; font-weight: 620; line-height: 1.25; font-variant-numeric: tabular-nums; }}
.tile dd small {{ display: block; font-size: 0.86rem; font-weight: 400; color: var(--muted); margin-top: 2px; }}
.good {{ color: var(--good); }} .bad {{ color: var(--bad); }}
.command {{ margin: 0; padding: 10px 14px; background: #fff; border: 1px solid var(--line); border-radius: 10px; overflow-x: auto; }}
code, pre {{ font: 0.9rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
nav ul {{ display: flex; flex-wrap: wrap; gap: 4px 20px; list-style: none; margin: 18px 0 0; padding: 0; }}
nav a {{ color: {palette.RUNGS["long"][0]}; }}
section {{ background: #fff; border: 1px solid var(--line); border-radius: 12px; padding: 24px 26px; margin-top: 22px; }}
figure {{ margin: 8px 0 0; }}
.empty {{ margin: 12px 0 0; padding: 14px 16px; border-left: 3px solid var(--line); background: #f8fafb; color: var(--muted); }}
.scroll {{ overflow-x: auto; }}
details {{ margin-top: 14px; }} summary {{ cursor: pointer; font-weight: 600; }}
table {{ border-collapse: collapse; width: 100%; margin-top: 10px; font-size: 0.92rem; font-variant-numeric: tabular-nums; }}
caption {{ text-align: left; padding-bottom: 6px; max-width: min(82ch, calc(100vw - 56px)); }}
th, td {{ padding: 6px 12px 6px 0; border-bottom: 1px solid #edf0f3; text-align: left; white-space: nowrap; }}
thead th, thead td {{ color: var(--muted); font-weight: 500; border-bottom-color: var(--line); }}
tbody th {{ font-weight: 500; }}
th.num, td.num {{ text-align: right; padding-right: 22px; }}
tr.winner > * {{ font-weight: 650; }}
.star {{ color: var(--accent); }}
footer {{ color: var(--muted); font-size: 0.88rem; margin-top: 26px; }}
@media (max-width: 640px) {{ .wrap {{ padding: 0 12px 40px; }} section {{ padding: 18px 14px; }} h1 {{ font-size: 1.6rem; }} }}
@media print {{ body {{ background: #fff; }} .wrap {{ max-width: none; padding: 0; }}
  nav, .modebar-container {{ display: none !important; }}
  section {{ border: 0; padding: 12px 0; }} figure, .tile, tr {{ break-inside: avoid; }}
  h2, h2 + p {{ break-after: avoid; }} .scroll {{ overflow: visible; }} }}
"""
