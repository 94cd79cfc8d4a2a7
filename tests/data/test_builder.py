"""The TFDS dataset, built from a small archive without a network."""

import concurrent.futures
import pathlib
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("tensorflow_datasets")

from alignment_jax import errors
from alignment_jax.data import builder, human_ratings
from alignment_jax.data.sources import open_source

KINDS = {
  "demonstration": "demonstrations",
  "preference": "preferences",
  "feedback": "feedback",
}


def rows(source):
  return [source[i] for i in range(len(source))]


def in_order(table):
  return sorted(table, key=repr)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_what_the_view_makes(data_dir, kind):
  texts = human_ratings.read_source(data_dir)
  framed = human_ratings.frame(texts)
  for split in human_ratings.SPLITS:
    expected = list(
      human_ratings.VIEWS[KINDS[kind]](
        [text for text in framed if text.source.split == split]
      )
    )
    found = rows(
      open_source("human_ratings", kind, split, data_dir=str(data_dir))
    )
    assert len(found) == len(expected) > 0
    texts_of = ("prompt", "response", "chosen", "rejected", "domain")
    assert in_order(
      [{k: v for k, v in row.items() if k in texts_of} for row in found]
    ) == in_order(
      [{k: v for k, v in row.items() if k in texts_of} for row in expected]
    )
    for name in ("reward", "probability", "chosen_reward", "rejected_reward"):
      # Stored as float32.
      assert sorted(row[name] for row in found if name in row) == pytest.approx(
        sorted(row[name] for row in expected if name in row), rel=1e-6
      )


@pytest.mark.parametrize("kind", KINDS)
def test_a_domain_is_its_rows_alone_in_their_order(data_dir, kind):
  for split in ("train", "test"):
    every, movies = (
      rows(open_source(name, kind, split, data_dir=str(data_dir)))
      for name in ("human_ratings", "human_ratings/movie")
    )
    assert movies == [row for row in every if row["domain"] == "movie"]
    assert 0 < len(movies) < len(every)
    assert all(row["prompt"].startswith("movie: ") for row in movies)


def test_a_half_of_the_raters_gives_their_mean_and_share(data_dir):
  every, first, second = (
    {row["response"]: row["reward"] for row in rows(opened)}
    for opened in (
      open_source(name, "feedback", "train", data_dir=str(data_dir))
      for name in (
        "human_ratings/movie",
        "human_ratings:first/movie",
        "human_ratings:second/movie",
      )
    )
  )
  assert every.keys() == first.keys() == second.keys()
  for text in every:
    # Three ratings, two at even places.
    assert 2 * first[text] + second[text] == pytest.approx(3 * every[text])
  pair = open_source(
    "human_ratings:second", "preference", "train", data_dir=str(data_dir)
  )[0]
  # One rater each.
  assert pair["probability"] in (0.5, 1.0)


def test_an_unknown_half_of_the_raters_lists_both(tmp_path):
  with pytest.raises(errors.UserError, match="available: first, second"):
    open_source(
      "human_ratings:third", "feedback", "train", data_dir=str(tmp_path)
    )


@pytest.mark.parametrize("domain", ["film", "", "movie/x"])
def test_an_unknown_domain_lists_those_there_are(tmp_path, domain):
  with pytest.raises(
    errors.UserError, match="available: movie, news, product, tweet"
  ):
    open_source(
      f"human_ratings/{domain}", "preference", "train", data_dir=str(tmp_path)
    )


def test_a_loop_over_the_rows_ends_after_the_last(data_dir):
  source = open_source(
    "human_ratings", "feedback", "test", data_dir=str(data_dir)
  )
  assert len(list(source)) == len(source) > 0


def test_rows_are_in_an_order_of_their_own_and_always_the_same(
  data_dir, tmp_path_factory
):
  other = tmp_path_factory.mktemp("other")
  shutil.copy(data_dir / "vaderSentiment-3.3.2.tar.gz", other)
  one, two = (
    rows(open_source("human_ratings", "preference", "train", data_dir=str(d)))
    for d in (data_dir, other)
  )
  assert one == two


def test_a_built_dataset_is_not_built_again(data_dir, monkeypatch):
  open_source("human_ratings", "preference", "train", data_dir=str(data_dir))

  def refuse(directory):
    raise AssertionError("read the archive again")

  monkeypatch.setattr(human_ratings, "read_source", refuse)
  open_source("human_ratings", "preference", "test", data_dir=str(data_dir))


def test_a_built_dataset_needs_no_right_to_write(data_dir, monkeypatch):
  open_source("human_ratings", "preference", "train", data_dir=str(data_dir))

  def refuse(lock):
    raise AssertionError("took the lock")

  monkeypatch.setattr(builder, "_alone", refuse)
  open_source("human_ratings", "preference", "train", data_dir=str(data_dir))


DIES = """
import os, sys
from alignment_jax.data import builder, human_ratings

whole = human_ratings.VIEWS["preferences"]

def dying(framed):
  for number, row in enumerate(whole(framed)):
    if number == 3 and framed[0].source.split == "test":
      os._exit(9)  # as after SIGKILL: nothing is cleaned up
    yield row

human_ratings.VIEWS["preferences"] = dying
human_ratings.PACKAGE["sha256"] = sys.argv[2]
builder.open_view("preferences", "train", data_dir=sys.argv[1])
"""


def test_a_build_that_is_killed_is_built_anew(data_dir):
  died = subprocess.run(
    [
      sys.executable,
      "-c",
      DIES,
      str(data_dir),
      human_ratings.PACKAGE["sha256"],
    ],
    check=False,
    capture_output=True,
  )
  assert died.returncode == 9, died.stderr
  folder = data_dir / "tfds" / "human_ratings" / "preferences"
  (left,) = folder.iterdir()
  assert left.name.startswith("incomplete.")

  found = open_source(
    "human_ratings", "preference", "train", data_dir=str(data_dir)
  )
  framed = human_ratings.frame(human_ratings.read_source(data_dir))
  expected = human_ratings.preferences(
    [text for text in framed if text.source.split == "train"]
  )
  assert len(found) == len(list(expected)) > 0
  assert [path.name for path in folder.iterdir()] == [builder.VERSION]


def test_a_folder_without_its_description_is_not_taken_for_complete(data_dir):
  open_source("human_ratings", "feedback", "train", data_dir=str(data_dir))
  folder = data_dir / "tfds" / "human_ratings" / "feedback" / builder.VERSION
  (folder / "dataset_info.json").unlink()
  found = open_source(
    "human_ratings", "feedback", "train", data_dir=str(data_dir)
  )
  assert len(found) > 0
  assert (folder / "dataset_info.json").exists()


def test_two_at_once_build_once_and_both_read(data_dir, monkeypatch):
  reads = []
  original = human_ratings.read_source

  def counted(directory):
    reads.append(directory)
    return original(directory)

  monkeypatch.setattr(human_ratings, "read_source", counted)
  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    counts = list(
      pool.map(
        lambda _: len(
          open_source(
            "human_ratings", "preference", "train", data_dir=str(data_dir)
          )
        ),
        range(2),
      )
    )
  assert counts[0] == counts[1] > 0
  assert len(reads) == 1


def test_a_data_directory_that_is_a_file_is_an_error(tmp_path):
  path = tmp_path / "data"
  path.write_text("")
  with pytest.raises(errors.UserError, match="data directory"):
    open_source("human_ratings", "preference", "train", data_dir=str(path))


def test_an_altered_archive_is_the_users_error_from_within_the_build(data_dir):
  path = data_dir / "vaderSentiment-3.3.2.tar.gz"
  path.write_bytes(path.read_bytes() + b"x")
  with pytest.raises(errors.UserError, match=f"delete {path}"):
    open_source("human_ratings", "preference", "train", data_dir=str(data_dir))


def test_a_prepared_dataset_is_opened_by_its_tfds_name(data_dir):
  first = open_source(
    "human_ratings", "preference", "test", data_dir=str(data_dir)
  )
  second = open_source(
    "tfds:human_ratings/preferences",
    "preference",
    "test",
    data_dir=str(data_dir),
  )
  assert rows(first) == rows(second)


@pytest.mark.parametrize(
  "name, message",
  [
    ("tfds:nothing", "nothing.*human_ratings"),
    ("tfds:", "human_ratings"),
    ("tfds:../tfds/human_ratings", "human_ratings"),
    ("tfds:human_ratings", "tfds:human_ratings/preferences"),
    ("tfds:human_ratings/feedback", "row 0.*chosen"),
  ],
)
def test_a_tfds_name_that_gives_no_pairs_says_why(data_dir, name, message):
  for kind in ("preference", "feedback"):
    open_source("human_ratings", kind, "train", data_dir=str(data_dir))
  with pytest.raises(errors.UserError, match=message):
    open_source(name, "preference", "train", data_dir=str(data_dir))


def test_without_prepared_datasets_the_error_says_so(tmp_path):
  with pytest.raises(errors.UserError, match="none"):
    open_source("tfds:x", "preference", "train", data_dir=str(tmp_path))


@pytest.mark.parametrize(
  "have", [("train",), ("train", "test"), ("train", "validation")]
)
def test_splits_that_a_dataset_lacks_are_taken_out_of_train(tmp_path, have):
  _build(tmp_path / "tfds", {split: 40 for split in have})
  parts = {
    split: rows(
      open_source("tfds:plain", "demonstration", split, data_dir=str(tmp_path))
    )
    for split in ("train", "validation", "test")
  }
  of = {s: {row["prompt"] for row in part} for s, part in parts.items()}
  assert min(map(len, parts.values())) >= 1
  assert sum(map(len, parts.values())) == 40 * len(have)
  assert not of["train"] & of["validation"]
  assert not of["train"] & of["test"]
  assert not of["validation"] & of["test"]


def test_a_dataset_without_train_cannot_give_it(tmp_path):
  _build(tmp_path / "tfds", {"test": 5})
  with pytest.raises(errors.UserError, match="'train'"):
    open_source("tfds:plain", "demonstration", "train", data_dir=str(tmp_path))


def _build(data_dir: pathlib.Path, sizes):
  """A dataset `plain` of prompts and responses in these splits."""
  import tensorflow_datasets as tfds

  class Plain(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")
    name = "plain"

    def _info(self):
      return tfds.core.DatasetInfo(
        builder=self,
        features=tfds.features.FeaturesDict(
          {"prompt": tfds.features.Text(), "response": tfds.features.Text()}
        ),
      )

    def _split_generators(self, dl_manager):
      return {split: self._generate_examples(split) for split in sizes}

    def _generate_examples(self, split):
      for i in range(sizes[split]):
        yield i, {"prompt": f"{split} {i}", "response": "a"}

  Plain(
    data_dir=str(data_dir), file_format="array_record"
  ).download_and_prepare()
