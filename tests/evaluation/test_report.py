"""The page of a run: what it says, that it is safe, and that it is drawn."""

import dataclasses
import html as html_
import html.parser
import math
import re
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from alignment_jax import errors
from alignment_jax.algorithms import ALGORITHMS
from alignment_jax.evaluation import figures, page, report

LOSSES = [
  {"step": s, "loss": 1 / s, "rewards/margins": s / 9} for s in range(1, 9)
]
MINIMAL = report.Report(title="A run", command="python train.py")
FULL = dataclasses.replace(
  MINIMAL,
  win_rates=[
    report.WinRate(
      judge="vader",
      against="reference",
      rate=0.713,
      low=0.675,
      high=0.751,
      ties=0.03,
      count=500,
    )
  ],
  numbers=[
    report.Number(
      name="KL to the reference", value=3.21, unit="nats", explanation="Moved."
    )
  ],
  curves={"sft": LOSSES[:1], "ipo": LOSSES},
  headlines={"sft": ["rewards/margins"], "ipo": ["rewards/margins"]},
  samples=[
    report.Sample(
      prompt="it was",
      before="bad",
      after="good",
      before_score=-0.5,
      after_score=0.4,
    )
  ],
  lengths_before=np.array([20, 22]),
  lengths_after=np.array([30, 34, 35]),
  scores_before=np.array([0.1, 0.3]),
  scores_after=np.array([0.5, 0.7]),
  config="width: 8",
  environment="cpu",
)
VOID = {"meta", "br", "link", "img"}


class _Page(html.parser.HTMLParser):
  """Collects tags, ids and attributes; fails where tags are not balanced."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.attributes, self.open = [], [], []
    self.feed(text)
    assert self.open == []

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    self.attributes += attrs
    if tag not in VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.tags.append(tag)
    self.attributes += attrs

  def handle_endtag(self, tag):
    assert self.open.pop() == tag


def _write(tmp_path, content):
  path = tmp_path / "out" / "report.html"
  report.write_report(path, content)
  return path.read_text(encoding="utf-8")


def test_the_page_is_one_balanced_document_with_distinct_ids(tmp_path):
  parsed = _Page(_write(tmp_path, FULL))
  ids = [value for name, value in parsed.attributes if name == "id"]
  assert len(ids) == len(set(ids)) > 0
  used = {v[1:] for name, v in parsed.attributes if name.endswith("href")}
  assert used <= set(ids)
  assert [p.name for p in (tmp_path / "out").iterdir()] == ["report.html"]


def test_the_page_asks_for_nothing_and_runs_nothing(tmp_path):
  text = _write(tmp_path, FULL)
  parsed = _Page(text)
  assert not {"script", "link", "img", "iframe", "object"} & set(parsed.tags)
  for name, value in parsed.attributes:
    assert name != "src"
    assert not name.startswith("on")
    if name.endswith("href"):
      assert value.startswith("#")
  assert "@import" not in text
  assert not re.search(r"url\((?!#)", text)
  assert "default-src 'none'" in text


def test_figures_are_valid_svg_and_say_in_words_what_they_show(tmp_path):
  text = _write(tmp_path, FULL)
  drawn = re.findall(r"<svg .*?</svg>", text, flags=re.DOTALL)
  # Win rate, scores, lengths; one loss and margin of sft, and the same of ipo.
  assert len(drawn) == 7
  labels = []
  for figure in drawn:
    root = ElementTree.fromstring(figure)
    assert root.get("role") == "img"
    labels.append(root.get("aria-label"))
  assert labels[0].startswith("Win rates with 95 % intervals. vader against")
  assert "loss from 1 at step 1 to 0.125 at step 8" in labels[5]


@pytest.mark.parametrize(
  "hostile", ["<script>alert(1)</script>", '"><svg onload=x>', "</pre>&lt;"]
)
def test_no_text_of_the_run_becomes_markup(tmp_path, hostile):
  text = _write(
    tmp_path,
    report.Report(
      title=hostile,
      command=hostile,
      win_rates=[
        dataclasses.replace(FULL.win_rates[0], judge=hostile, against=hostile)
      ],
      numbers=[
        report.Number(name=hostile, value=1, unit=hostile, explanation=hostile)
      ],
      curves={hostile: [{"step": 1, "loss": 1.0, hostile: 1.0}]},
      headlines={hostile: [hostile]},
      samples=[report.Sample(prompt=hostile, before=hostile, after=hostile)],
      config=hostile,
      environment=hostile,
    ),
  )
  assert hostile not in text
  parsed = _Page(text)
  assert "script" not in parsed.tags
  assert "onload" not in dict(parsed.attributes)


def test_a_text_is_shown_as_it_was_sampled(tmp_path):
  class Cells(html.parser.HTMLParser):
    found = ""

    def handle_data(self, text):
      self.found += text

  cells = Cells()
  response = "a < b && c\n  'quoted' \"twice\""
  sample = dataclasses.replace(FULL.samples[0], after=response)
  cells.feed(_write(tmp_path, dataclasses.replace(MINIMAL, samples=[sample])))
  assert response in cells.found
  assert "score −0.500" in cells.found
  assert "score 0.400" in cells.found


def test_a_sample_with_half_a_surrogate_or_nothing_in_it_is_written(tmp_path):
  samples = [report.Sample(prompt="p", before="\ud83d", after=" ")]
  text = _write(tmp_path, dataclasses.replace(MINIMAL, samples=samples))
  assert "<i>(empty)</i>" in text


SECTIONS = {
  "win_rates": "Does it win?",
  "samples": "Read some responses",
  "numbers": "Everything measured",
  "curves": "How training went",
  "config": "Configuration",
  "environment": "Environment",
}


@pytest.mark.parametrize("field", SECTIONS)
def test_a_section_stands_exactly_when_it_has_data(tmp_path, field):
  assert SECTIONS[field] in _write(tmp_path, FULL)
  empty = dataclasses.replace(FULL, **{field: getattr(MINIMAL, field)})
  assert SECTIONS[field] not in _write(tmp_path, empty)


def test_a_report_with_nothing_but_a_title_is_a_page(tmp_path):
  parsed = _Page(_write(tmp_path, MINIMAL))
  assert "svg" not in parsed.tags
  assert "section" not in parsed.tags


def test_a_stage_shows_its_loss_and_what_its_method_says_leads(tmp_path):
  rows = [
    {"step": s, "kl": 0.1 * s, "rewards/mean": 2.0, "loss": 3.0, "other": 1.0}
    for s in (1, 2)
  ]
  page = dataclasses.replace(
    MINIMAL,
    curves={"rloo": rows, "sft": rows},
    headlines={"rloo": ["rewards/mean", "kl", "win_rate"]},
  )
  text = _write(tmp_path, page)
  titles = re.findall(r"<h3>(\w+)</h3>|<figcaption><b>([^<]+)</b>", text)
  assert ["".join(title) for title in titles] == [
    *("rloo", "Loss", "Reward", "KL to the reference"),
    *("sft", "Loss"),
  ]
  assert "how far the policy moved" in text  # KL is explained where it is drawn


def test_every_metric_that_leads_has_a_name_for_the_reader():
  leading = {name for m in ALGORITHMS.values() for name in m.headline}
  assert leading <= set(report.TITLES)


def test_a_stage_without_preferences_has_only_its_loss(tmp_path):
  rows = [{"step": 1, "loss": 2.0}, {"step": 2, "eval/loss": 1.0}]
  text = _write(tmp_path, dataclasses.replace(MINIMAL, curves={"sft": rows}))
  assert text.count("<svg ") == 1
  assert "Reward margin" not in text


def test_values_that_are_not_finite_are_left_out_and_counted(tmp_path):
  rows = [*LOSSES, {"step": 9, "loss": math.nan}]
  text = _write(
    tmp_path,
    dataclasses.replace(
      MINIMAL,
      curves={"ipo": rows, "broken": [{"step": 1, "loss": math.nan}]},
      scores_before=np.array([math.nan, 1.0, math.inf]),
      scores_after=np.array([0.0]),
    ),
  )
  assert "<b>Loss</b>. Left out because not finite: 1." in text
  assert "1 before</span>" in text
  assert "Left out because not finite: 2." in text
  assert "<h3>broken</h3>" not in text


def _tables(text):
  """The cells of each row of each table, as a reader sees them."""
  return [
    [
      [html_.unescape(re.sub("<[^>]*>", "", cell)) for cell in cells]
      for row in re.findall(r"<tr>(.*?)</tr>", table, flags=re.DOTALL)
      if (cells := re.findall(r"<td[^>]*>(.*?)</td>", row, flags=re.DOTALL))
    ]
    for table in re.findall(r"<table.*?</table>", text, flags=re.DOTALL)
  ]


def test_the_tables_hold_what_was_measured(tmp_path):
  win_rates, samples, numbers = _tables(_write(tmp_path, FULL))
  assert win_rates == [
    [
      *("vader", "reference", "71.3\u202f%"),
      *("67.5\u202f% – 75.1\u202f%", "3.0\u202f%", "500"),
    ]
  ]
  assert samples == [["Beforebadscore −0.500", "Aftergoodscore 0.400"]]
  assert numbers == [["KL to the reference", "3.21", "nats", "Moved."]]


@pytest.mark.parametrize(
  "fields, terms",
  [
    (["win_rates"], ["Win rate", "Interval", "Judge"]),
    (["scores_before", "scores_after"], ["Judge"]),
    (["numbers"], ["KL to the reference"]),
    (["curves", "headlines"], ["Reward margin"]),
    (["curves"], []),
    (["samples"], []),
  ],
)
def test_the_page_explains_the_terms_that_it_uses(tmp_path, fields, terms):
  given = {field: getattr(FULL, field) for field in fields}
  text = _write(tmp_path, dataclasses.replace(MINIMAL, **given))
  assert re.findall("<dt>(.*?)</dt>", text) == terms


@pytest.mark.parametrize(
  ("value", "shown"),
  [
    (0.12345, "0.123"),
    (-3.21, "−3.21"),
    (41.23, "41.2"),
    (7, "7"),
    (np.float32(0.5), "0.500"),
    (12345678, "12\u202f345\u202f678"),
    (1234.6, "1\u202f235"),
    (1000.5, "1\u202f000"),
    (999.4, "999"),
    (0.001, "0.00100"),
    (0.00099, "9.90e−04"),
    (-math.inf, "not finite"),
    (1e-5, "1.00e−05"),
    (0.0, "0"),
    (math.nan, "not finite"),
  ],
)
def test_numbers_have_three_digits_and_a_real_minus(value, shown):
  assert page.number(value) == shown


def test_the_story_is_told_by_the_numbers():
  assert report.compose_story(FULL) == (
    "The trained policy wins 71.3\u202f% of 500 prompts against reference,"
    " judged by vader, ties (3.0\u202f%) counting half."
    " That is more than the choice of prompts explains"
    " (95\u202f% interval 67.5\u202f% to 75.1\u202f%)."
    " The judge’s mean score went from 0.200 to 0.600."
    " A response has 33.0 tokens on average, 21.0 before:"
    " check that the judge does not simply reward length."
  )
  assert report.compose_story(MINIMAL) == ""


@pytest.mark.parametrize(
  ("low", "high", "verdict"),
  [
    (0.51, 0.6, "more than the choice of prompts explains"),
    (0.45, 0.55, "no clear difference"),
    (0.5, 0.6, "no clear difference"),  # it holds 50 %
    (0.4, 0.5, "no clear difference"),
    (0.3, 0.49, "made it worse"),
  ],
)
def test_the_story_claims_no_more_than_the_interval(low, high, verdict):
  rate = dataclasses.replace(FULL.win_rates[0], low=low, high=high)
  story = report.compose_story(dataclasses.replace(MINIMAL, win_rates=[rate]))
  assert verdict in story


def test_the_story_leaves_out_what_is_not_there():
  rate = dataclasses.replace(
    FULL.win_rates[0], ties=0.0, low=math.nan, high=0.8
  )
  page_ = dataclasses.replace(
    MINIMAL,
    win_rates=[rate],
    scores_after=np.ones(2),
    lengths_before=np.ones(2),
  )
  assert report.compose_story(page_) == (
    "The trained policy wins 71.3\u202f% of 500 prompts against reference,"
    " judged by vader."
  )
  page_ = dataclasses.replace(page_, win_rates=[], scores_before=np.ones(0))
  assert report.compose_story(page_) == ""


@pytest.mark.parametrize("before, after", [(20, 25), (20, 25.1), (25.1, 20)])
def test_the_story_warns_of_lengths_that_differ_by_more_than_a_quarter(
  before, after
):
  lengths = {"lengths_before": np.array([before]), "lengths_after": [after]}
  lengths = {name: np.array(value, float) for name, value in lengths.items()}
  story = report.compose_story(dataclasses.replace(MINIMAL, **lengths))
  assert ("simply reward length" in story) == (25.1 in (before, after))


def test_scores_that_only_one_side_has_are_not_drawn(tmp_path):
  text = _write(
    tmp_path,
    dataclasses.replace(
      MINIMAL,
      scores_after=np.ones(2),
      lengths_before=np.array([math.nan]),
      lengths_after=np.ones(2),
    ),
  )
  assert "<svg " not in text


@pytest.mark.parametrize(
  ("share", "shown"),
  [(0.071, "7.1\u202f%"), (1, "100.0\u202f%"), (math.inf, "not finite")],
)
def test_a_share_is_written_in_percent(share, shown):
  assert page.percent(share) == shown


def test_the_same_report_gives_the_same_bytes(tmp_path):
  assert _write(tmp_path, FULL) == _write(tmp_path, FULL)


def test_the_settings_of_matplotlib_stay_as_they_were(tmp_path):
  import matplotlib

  with matplotlib.rc_context({"font.size": 17, "svg.fonttype": "path"}):
    _write(tmp_path, FULL)
    assert matplotlib.rcParams["font.size"] == 17
    assert matplotlib.rcParams["svg.fonttype"] == "path"


@pytest.mark.parametrize("missing", ["matplotlib", "jinja2"])
def test_a_failure_leaves_the_old_page(tmp_path, monkeypatch, missing):
  old = _write(tmp_path, MINIMAL)
  monkeypatch.setitem(sys.modules, missing, None)
  with pytest.raises(
    errors.UserError, match=rf"pip install {missing}, .*\[viz\]"
  ):
    _write(tmp_path, FULL)
  assert (tmp_path / "out" / "report.html").read_text() == old


def test_names_with_dollar_signs_are_not_read_as_formulas(tmp_path):
  rate = dataclasses.replace(FULL.win_rates[0], judge="$\\frac{$")
  text = _write(tmp_path, dataclasses.replace(MINIMAL, win_rates=[rate]))
  assert text.count("$\\frac{$") >= 2  # in the figure and in the table


def _luminance(color):
  channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
  linear = [
    c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
    for c in channels
  ]
  return np.dot([0.2126, 0.7152, 0.0722], linear)


@pytest.mark.parametrize("color", [figures.BEFORE, figures.AFTER])
def test_the_two_colors_can_be_read_on_white(color):
  # WCAG 2.2, 1.4.3: contrast (1 + 0.05) / (L + 0.05) of at least 4.5.
  assert 1.05 / (_luminance(color) + 0.05) >= 4.5
