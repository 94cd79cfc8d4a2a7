"""The report's paper and ink: HTML parts, CSS, and how a number is written.

Knows no metric and no judge.
"""

import html
import math
from collections.abc import Iterable, Sequence
from typing import SupportsFloat

from alignment_jax.evaluation import figures


def document(title: str, parts: Sequence[str]) -> str:
  """The whole file; the browser is forbidden to load or run anything."""
  body = _unique_ids("\n".join(parts))
  return (
    "<!doctype html>\n"
    '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<meta http-equiv="Content-Security-Policy"'
    " content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
    f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n"
    f"</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
  )


def section(title: str, content: str) -> str:
  return (
    f"<section>\n<h2>{title}</h2>\n{content}\n</section>" if content else ""
  )


def table(
  heads: Sequence[str],
  rows: Iterable[Sequence[str]],
  first: int,
  count: int = 9,
) -> str:
  """A table whose `count` columns from `first` on are numbers."""

  def cell(tag: str, column: int, shown: str) -> str:
    numeric = " class=number" if first <= column < first + count else ""
    return f"<{tag}{numeric}>{escape(shown)}</{tag.split()[0]}>"

  head = "".join(
    cell("th scope=col", i, shown) for i, shown in enumerate(heads)
  )
  body = "\n".join(
    "<tr>"
    + "".join(cell("td", i, shown) for i, shown in enumerate(row))
    + "</tr>"
    for row in rows
  )
  return (
    f"<div class=scroll><table><thead><tr>{head}</tr></thead>\n"
    f"<tbody>{body}</tbody></table></div>"
  )


def grid(figures: Sequence[str]) -> str:
  return f"<div class=grid>{''.join(figures)}</div>" if figures else ""


def figure(drawing: str, *, label: str, caption: str) -> str:
  svg = drawing.replace(
    "<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1
  )
  return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>\n"


def escape(raw: str) -> str:
  """Text of the run, made harmless between tags and in attributes."""
  return html.escape(raw, quote=True)


def text(value: SupportsFloat | str) -> str:
  """Three significant digits, a real minus sign, thousands apart."""
  if isinstance(value, str):
    return value
  if not math.isfinite(value):
    return "not finite"
  if value == int(value) or abs(value) >= 1000:
    shown = f"{value:,.0f}"
  elif abs(value) >= 1e-3:
    shown = f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
  else:
    shown = f"{value:.2e}"
  return shown.replace("-", "−").replace(",", "\u202f")


def percent(share: float) -> str:
  return f"{100 * share:.1f}\u202f%" if math.isfinite(share) else "not finite"


def _unique_ids(page: str) -> str:
  """Numbers the figures' ids, which matplotlib repeats from one to the next."""
  pieces = page.split("<svg ")
  for index, piece in enumerate(pieces[1:], start=1):
    drawing, end, rest = piece.partition("</svg>")
    for before in [' id="', 'href="#', "url(#"]:
      drawing = drawing.replace(before, f"{before}f{index}-")
    pieces[index] = drawing + end + rest
  return "<svg ".join(pieces)


_STYLE = f"""
:root {{ color-scheme: light; --before: {figures.BEFORE};
  --after: {figures.AFTER};
  --ink: {figures.INK}; --soft: #52606d; --line: #dfe3e8; --paper: #f6f7f9; }}
* {{ box-sizing: border-box; }}
html {{ -webkit-text-size-adjust: 100%; }}
body {{ margin: 0; background: #fff; color: var(--ink);
  font: 1.0625rem/1.6 Charter, "Bitstream Charter", "Iowan Old Style", Georgia,
    "Liberation Serif", serif; font-variant-numeric: lining-nums; }}
main {{ max-width: 60rem; margin: 0 auto; padding: 3rem 1.25rem 5rem; }}
h1, h2, h3, th, dt, small, summary, figcaption, .tiles, .when, svg text {{
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans",
    "Liberation Sans", Arial, sans-serif !important; }}
h1 {{ font-size: 2rem; line-height: 1.2; letter-spacing: -.015em;
  margin: 0 0 1rem; text-wrap: balance; }}
h2 {{ font-size: 1.25rem; line-height: 1.3; margin: 0 0 1rem; }}
h3 {{ font-size: 1rem; margin: 1.5rem 0 .5rem; }}
section {{ margin-top: 3.5rem; }}
p, aside dd {{ max-width: 40rem; text-wrap: pretty; }}
.story {{ font-size: 1.2rem; line-height: 1.55; margin: 0 0 1.75rem; }}
.before {{ color: var(--before); }} .after {{ color: var(--after); }}
pre {{ font: .8125rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas,
    "Liberation Mono", monospace; background: var(--paper); padding: .8rem 1rem;
  border-radius: .4rem; overflow-x: auto; margin: 0; }}
code {{ font: inherit; }}
.command {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
.command span {{ display: inline-block; max-width: 100%; }}
.tiles {{ display: grid; gap: 1.25rem 2rem; margin: 0 0 1.75rem;
  grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); }}
.tiles > div {{ border-top: 2px solid var(--after); padding-top: .5rem;
  display: flex; flex-direction: column-reverse; justify-content: flex-end; }}
.tiles dt {{ font-size: .8125rem; line-height: 1.35; color: var(--soft); }}
.tiles dd {{ margin: 0; font-size: 1.75rem; line-height: 1.25; font-weight: 600;
  letter-spacing: -.01em; }}
aside {{ margin-top: 2rem; padding: 1.25rem 1.5rem; background: var(--paper);
  border-radius: .4rem; font-size: .975rem; line-height: 1.5; }}
aside h2 {{ font-size: 1rem; margin: 0 0 .5rem; }}
aside p {{ margin: 0 0 .75rem; }}
aside dl {{ margin: 0; display: grid; gap: .4rem 1.25rem;
  grid-template-columns: max-content 1fr; }}
aside dt {{ font-weight: 600; font-size: .875rem; line-height: 1.65; }}
aside dd {{ margin: 0; }}
figure {{ margin: 0; break-inside: avoid; }}
figure svg {{ display: block; width: 100%; height: auto; }}
figure svg * {{ stroke-linejoin: round; }}
figcaption {{ font-size: .8125rem; line-height: 1.45; color: var(--soft);
  margin-top: .35rem; }}
figcaption b {{ color: var(--ink); }}
.grid {{ display: grid; gap: 2rem 2.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); }}
.grid > figure {{ max-width: 30rem; }}
.wide {{ max-width: 30rem; margin-bottom: 1.5rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: .95rem;
  line-height: 1.45; }}
th, td {{ text-align: start; vertical-align: top; padding: .6rem 1rem .6rem 0;
  border-bottom: 1px solid var(--line); }}
th:last-child, td:last-child {{ padding-right: 0; }}
thead th {{ font-size: .8125rem; color: var(--soft); white-space: nowrap; }}
thead th.before {{ color: var(--before); }}
thead th.after {{ color: var(--after); }}
.number {{ text-align: end; white-space: nowrap;
  font-variant-numeric: lining-nums tabular-nums; }}
.samples {{ table-layout: fixed; }}
.samples th:first-child {{ width: 26%; }}
.samples tbody th {{ font-weight: 500; font-size: .875rem; }}
.samples tbody div {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
.samples i {{ color: var(--soft); }}
.samples small {{ display: block; margin-top: .3rem; font-size: .8125rem;
  color: var(--soft); font-variant-numeric: tabular-nums; }}
.when {{ display: none; font-size: .75rem; }}
details {{ margin-top: 1rem; }} section + details {{ margin-top: 3.5rem; }}
summary {{ cursor: pointer; font-weight: 600; padding: .35rem 0; }}
@media (max-width: 42rem) {{
  main {{ padding-top: 1.75rem; }} h1 {{ font-size: 1.6rem; }}
  .story {{ font-size: 1.1rem; }}
  aside {{ margin-inline: -1.25rem; border-radius: 0; padding: 1.25rem; }}
  aside dl {{ grid-template-columns: 1fr; gap: 0; }}
  aside dd {{ margin-bottom: .5rem; }}
  .samples, .samples tbody, .samples tr, .samples th, .samples td {{
    display: block; width: auto !important; }}
  .samples thead {{ display: none; }}
  .samples tr {{ border-bottom: 1px solid var(--line); padding: .75rem 0; }}
  .samples th, .samples td {{ border: 0; padding: .25rem 0; }}
  .samples .when {{ display: block; }} }}
@media print {{
  @page {{ margin: 18mm 16mm; }}
  body {{ font-size: 10pt; }} main {{ max-width: none; padding: 0; }}
  section {{ margin-top: 2rem; }} h2, h3 {{ break-after: avoid; }}
  tr, aside, .tiles {{ break-inside: avoid; }} pre {{ white-space: pre-wrap; }}
  aside, pre {{ border: 1px solid var(--line); }}
  .grid {{ grid-template-columns: 1fr 1fr; }}
  details::details-content {{ content-visibility: visible; display: block; }} }}
"""
