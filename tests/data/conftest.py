"""A small source distribution in the shape of the real one."""

import hashlib
import io
import tarfile
import types

import pytest

from alignment_jax.data import builder, fetch, human_ratings

INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
STEMS = {
  "movie": "movieReviewSnippets",
  "product": "amazonReviewSnippets",
  "news": "nytEditorialSnippets",
  "tweet": "tweets",
}
THINGS = "film cast plot song scene story actor script score ending".split()


def tar(members):
  """The bytes of a .tar.gz; a value is content or a ready TarInfo."""
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode="w:gz") as archive:
    for name, content in members.items():
      if isinstance(content, tarfile.TarInfo):
        archive.addfile(content)
      else:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
  return file.getvalue()


def rating_files(rated):
  """domain -> [(text, ratings)] as the files of the inner archive."""
  files = {}
  for domain, stem in STEMS.items():
    texts, ratings = "", ""
    for number, (text, values) in enumerate(rated.get(domain, ()), start=1):
      mean = sum(values) / len(values)
      texts += f"{number}\t{mean}\t{text}\r\n"
      ratings += f"{number}\t{mean}\t0.5\t{list(values)}\r\n"
    files[f"hutto_ICWSM_2014/{stem}_GroundTruth.txt"] = texts.encode()
    files[f"hutto_ICWSM_2014/{stem}_anonDataRatings.txt"] = ratings.encode()
  return files


def sentences(count):
  """Texts with two openings; how much they are liked varies."""
  return [
    (
      f"{'The' if i % 2 else 'the'} {THINGS[i % 3]} has {THINGS[i % 10]} {i}",
      [(i % 9) - 4, (i * 7 % 9) - 4, 0],
    )
    for i in range(count)
  ]


def put_source(directory, monkeypatch):
  """Puts a small source distribution where the real one is looked for."""
  rated = {domain: sentences(60) for domain in STEMS}
  content = tar({INNER: tar(rating_files(rated))})
  monkeypatch.setitem(
    human_ratings.PACKAGE, "sha256", hashlib.sha256(content).hexdigest()
  )
  (directory / "vaderSentiment-3.3.2.tar.gz").write_bytes(content)


@pytest.fixture
def no_pip(monkeypatch):
  """Fails the test if a download is tried."""

  def refuse(*args, **kwargs):
    raise AssertionError("tried to download")

  # The name in `fetch` alone: a test may start a process of its own.
  monkeypatch.setattr(fetch, "subprocess", types.SimpleNamespace(run=refuse))


@pytest.fixture
def data_dir(tmp_path, monkeypatch, no_pip):
  """A data directory that holds a small source distribution."""
  put_source(tmp_path, monkeypatch)
  return tmp_path


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
  """A data directory with every view built; not to be changed."""
  directory = tmp_path_factory.mktemp("prepared")
  with pytest.MonkeyPatch.context() as monkeypatch:
    put_source(directory, monkeypatch)
    for view in human_ratings.VIEWS:
      builder.open_view(view, "train", data_dir=str(directory))
  return directory


@pytest.fixture
def make_tar():
  return tar


@pytest.fixture
def make_rating_files():
  return rating_files
