"""Rows from files and data sets, split by prompt."""

import json

import pytest

from alignment_jax import errors
from alignment_jax.data import sources
from alignment_jax.data.sources import Source, open_source

SPLITS = ("train", "validation", "test")


def pairs(count):
  return [
    {"prompt": f"question {i}", "chosen": f"good {i}", "rejected": f"bad {i}"}
    for i in range(count)
  ]


def jsonl(path, table):
  path.write_text("".join(json.dumps(row) + "\n" for row in table), "utf-8")
  return str(path)


def write_parquet(path, table):
  pyarrow = pytest.importorskip("pyarrow")
  parquet = pytest.importorskip("pyarrow.parquet")
  parquet.write_table(pyarrow.Table.from_pylist(table), path)
  return str(path)


def opened(name, kind, tmp_path):
  return {
    split: open_source(name, kind, split, data_dir=str(tmp_path))
    for split in SPLITS
  }


def everything(parts):
  return [part[i] for part in parts.values() for i in range(len(part))]


@pytest.mark.parametrize(
  "write, end", [(jsonl, "jsonl"), (write_parquet, "parquet")]
)
def test_a_file_of_twenty_pairs_is_split_without_loss(tmp_path, write, end):
  name = write(tmp_path / f"pairs.{end}", pairs(20))
  parts = opened(name, "preference", tmp_path)
  found = everything(parts)
  assert sorted(row["prompt"] for row in found) == sorted(
    row["prompt"] for row in pairs(20)
  )
  assert all(row["probability"] == row["weight"] == 1.0 for row in found)
  assert min(len(part) for part in parts.values()) >= 1
  assert len(parts["train"]) >= 10


def test_a_pair_is_also_a_demonstration_of_what_was_chosen(tmp_path):
  name = jsonl(tmp_path / "pairs.jsonl", pairs(5))
  for row in everything(opened(name, "demonstration", tmp_path)):
    assert row["response"] == row["prompt"].replace("question", "good")


@pytest.mark.parametrize("salt", range(40))
@pytest.mark.parametrize("count", [3, 4, 5, 8])
def test_few_prompts_are_dealt_out_to_all_splits(count, salt):
  prompts = [f"{salt} {i}" for i in range(count)]
  indices = sources.split_by_prompt(prompts, SPLITS, "file")
  assert sorted(sum(indices.values(), [])) == list(range(count))
  sizes = {split: len(part) for split, part in indices.items()}
  assert min(sizes.values()) >= 1
  assert sizes["train"] == max(sizes.values())


def test_many_prompts_are_split_80_10_10():
  prompts = [f"prompt {i}" for i in range(5000)]
  indices = sources.split_by_prompt(prompts, SPLITS, "file")
  # Five standard deviations of a binomial with 5000 draws and p = 0.1: 106.
  assert abs(len(indices["test"]) - 500) < 106
  assert abs(len(indices["validation"]) - 500) < 106


def test_rows_of_one_prompt_stay_together():
  prompts = [
    f"{'P' if i % 60 < 30 else 'p'}rompt  {i % 30}" for i in range(300)
  ]
  indices = sources.split_by_prompt(prompts, SPLITS, "file")
  of = {
    split: {prompts[index].casefold() for index in part}
    for split, part in indices.items()
  }
  assert not of["train"] & of["test"]
  assert not of["train"] & of["validation"]
  assert not of["validation"] & of["test"]


def test_rows_that_are_added_move_no_prompt_of_a_large_file():
  prompts = [f"prompt {i}" for i in range(2000)]
  before = sources.split_by_prompt(prompts[:1500], SPLITS, "file")
  after = sources.split_by_prompt(prompts, SPLITS, "file")
  for split in SPLITS:
    assert set(before[split]) <= set(after[split])


def test_a_split_does_not_depend_on_the_order_of_the_rows(tmp_path):
  one = jsonl(tmp_path / "one.jsonl", pairs(30))
  two = jsonl(tmp_path / "two.jsonl", pairs(30)[::-1])
  for split in SPLITS:
    a, b = (
      open_source(name, "preference", split, data_dir="") for name in (one, two)
    )
    assert {row["prompt"] for row in a} == {row["prompt"] for row in b}


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_prompts_are_an_error(tmp_path, count):
  name = jsonl(tmp_path / "f.jsonl", pairs(count) * 10)
  with pytest.raises(errors.UserError, match=f"{count} different prompts"):
    open_source(name, "preference", "train", data_dir="")


def test_blank_lines_and_a_byte_order_mark_are_passed_over(tmp_path):
  path = tmp_path / "f.jsonl"
  lines = [json.dumps(row) for row in pairs(3)]
  path.write_text("\ufeff" + "\n\n".join(lines) + "\n \n", "utf-8")
  assert len(everything(opened(str(path), "preference", tmp_path))) == 3


@pytest.mark.parametrize(
  "line, message",
  [
    (b"{not json", "line 3 is not JSON"),
    (b'{"prompt": "q"', "line 3 is not JSON"),
    (b"\xff\xfe", "line 3 is not JSON"),
    (b"[" * 100000, "line 3 is not JSON"),
    (b"9" * 5000, "line 3"),
    (b"[1, 2]", "line 3: expected an object"),
    (b'{"prompt": "q"}', "line 3: .*missing chosen, rejected, found prompt"),
    (b'{"prompt": "q", "chosen": " ", "rejected": "b"}', "line 3: 'chosen'"),
    (
      b'{"prompt": "q", "chosen": "a", "rejected": "b", "probability": NaN}',
      "line 3: 'probability'",
    ),
  ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
  path = tmp_path / "f.jsonl"
  good = [json.dumps(row).encode() for row in pairs(4)]
  path.write_bytes(b"\n".join([*good[:2], line, *good[2:]]))
  with pytest.raises(errors.UserError, match=message) as caught:
    open_source(str(path), "preference", "train", data_dir="")
  assert str(path) in str(caught.value)


def test_a_source_is_parsed_once_and_checked_once_for_each_kind(
  tmp_path, monkeypatch
):
  name = jsonl(tmp_path / "pairs.jsonl", pairs(20))
  source = Source(name, data_dir="")
  first = {
    (kind, split): source.rows(kind, split)
    for kind in ("preference", "prompt")
    for split in SPLITS
  }
  (tmp_path / "pairs.jsonl").unlink()  # nothing is read any more
  assert all(source.rows(*part) is table for part, table in first.items())
  response = source.rows("demonstration", "test")[0]["response"]
  assert response == source.rows("preference", "test")[0]["chosen"]


def test_a_source_reads_nothing_before_it_is_asked(tmp_path):
  name = str(tmp_path / "later.jsonl")
  source = Source(name, data_dir="")
  jsonl(tmp_path / "later.jsonl", pairs(20))
  assert len(source.rows("preference", "train")) >= 10


def test_a_bad_row_of_parquet_is_named(tmp_path):
  table = pairs(5)
  table[3]["chosen"] = None
  name = write_parquet(tmp_path / "f.parquet", table)
  with pytest.raises(errors.UserError, match="f.parquet row 4: .*chosen"):
    open_source(name, "preference", "train", data_dir="")


@pytest.mark.parametrize("end", ["jsonl", "parquet"])
@pytest.mark.parametrize("what", ["missing", "folder", "empty", "forbidden"])
def test_a_file_that_cannot_be_read_is_one_line(
  tmp_path, monkeypatch, end, what
):
  path = tmp_path / f"f.{end}"
  if what == "folder":
    path.mkdir()
  if what in ("empty", "forbidden"):
    path.write_bytes(b"")
  if what == "forbidden":

    def refuse(*args, **kwargs):
      raise PermissionError(13, "Permission denied")

    # A test that runs as root may read everything.
    monkeypatch.setattr(type(path), "open", refuse)
    pyarrow = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(pyarrow, "read_table", refuse)
  with pytest.raises(errors.UserError) as caught:
    open_source(str(path), "preference", "train", data_dir="")
  message = str(caught.value)
  assert str(path) in message and "\n" not in message and "None" not in message


def test_a_file_that_is_no_parquet_is_an_error(tmp_path):
  path = tmp_path / "f.parquet"
  path.write_bytes(b"PAR1 and then something else")
  with pytest.raises(errors.UserError, match="f.parquet"):
    open_source(str(path), "preference", "train", data_dir="")


def test_messages_and_labels_are_read_from_parquet(tmp_path):
  table = [
    {
      "messages": [
        {"role": "user", "content": f"question {i}"},
        {"role": "assistant", "content": "answer"},
      ],
      "label": i % 2 == 0,
    }
    for i in range(6)
  ]
  name = write_parquet(tmp_path / "f.parquet", table)
  for row in everything(opened(name, "feedback", tmp_path)):
    number = int(row["prompt"].split()[1])
    assert row["response"] == "answer"
    assert row["reward"] == float(number % 2 == 0)


@pytest.mark.parametrize(
  "name", ["human_rating", "f.csv", "f", "", "https://example.com/f.txt"]
)
def test_an_unknown_source_lists_the_forms(name):
  with pytest.raises(errors.UserError, match="FILE.jsonl.*human_ratings.*tfds"):
    open_source(name, "preference", "train", data_dir="")


def test_an_unknown_kind_or_split_lists_what_there_is():
  with pytest.raises(errors.UserError, match="demonstration, feedback"):
    open_source("human_ratings", "pairs", "train", data_dir="")
  with pytest.raises(errors.UserError, match="test, train, validation"):
    open_source("human_ratings", "preference", "valid", data_dir="")


def test_only_pairs_that_raters_agree_on_are_kept():
  shares = [0.5, 0.95, 0.3, 0.04, 0.9]
  table = [{"probability": share} for share in shares]
  kept = sources.confident(table, 0.9, "mine")
  assert [row["probability"] for row in kept] == [0.95, 0.04, 0.9]
  assert sources.confident(table, 0.0, "mine") is table
  with pytest.raises(
    errors.UserError, match=r"no pair of mine.*of 0.99 or more"
  ):
    sources.confident(table, 0.99, "mine")
