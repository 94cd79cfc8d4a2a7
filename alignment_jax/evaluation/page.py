"""The template of the report, and how a number is written on a page.

Knows no metric and no judge.
"""

import importlib.resources
import math
import re
from typing import Any, SupportsFloat

from alignment_jax import errors

TEMPLATE = "report.html.jinja"


def render(**values: Any) -> str:
  """The page; every text in it is escaped, whoever wrote it.

  Raises:
    UserError: jinja2 is not installed.
  """
  try:
    import jinja2
    import markupsafe
  except ImportError as error:
    raise errors.not_installed("jinja2", extra="viz") from error

  def labeled(drawing: str, label: str) -> markupsafe.Markup:
    return markupsafe.Markup(
      drawing.replace(
        "<svg ",
        f'<svg role="img" aria-label="{markupsafe.escape(label)}" ',
        1,
      )
    )

  environment = jinja2.Environment(
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.filters |= {
    "labeled": labeled,
    "number": number,
    "percent": percent,
    "words": lambda text: re.split(r"(\s+)", text),
  }
  source = importlib.resources.files("alignment_jax.evaluation").joinpath(
    TEMPLATE
  )
  template = environment.from_string(source.read_text("utf-8"))
  return _unique_ids(template.render(values))


def number(value: SupportsFloat) -> str:
  """Three significant digits, a real minus sign, thousands apart."""
  value = float(value)
  if not math.isfinite(value):
    return "not finite"
  if value == int(value) or abs(value) >= 1000:
    shown = f"{value:,.0f}"
  elif abs(value) >= 1e-3:
    shown = f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
  else:
    shown = f"{value:.2e}"
  return shown.replace("-", "−").replace(",", "\u202f")


def percent(share: SupportsFloat) -> str:
  share = float(share)
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
