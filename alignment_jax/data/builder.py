"""The human ratings as a dataset of tensorflow-datasets.

Read by random access; TensorFlow is not needed. The build goes to a temporary
folder that gets its name when complete, and needs no network once the source
distribution is there.
"""

import contextlib
import fcntl
import functools
import io
import pathlib
import shutil
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from alignment_jax import errors
from alignment_jax.data import human_ratings

VERSION = "1.2.0"

_NUMBERS = ("reward", "probability", "chosen_reward", "rejected_reward")
_COLUMNS = {
  "demonstrations": ("prompt", "response", "domain"),
  "feedback": ("prompt", "response", "domain", "reward"),
  "preferences": (
    "prompt",
    "chosen",
    "rejected",
    "domain",
    "probability",
    "chosen_reward",
    "rejected_reward",
  ),
}
# Name of a config -> its view, and the half of the raters or none.
_CONFIGS = {
  **{view: (view, "") for view in _COLUMNS},
  **{
    f"{view}_{raters}": (view, raters)
    for view in ("feedback", "preferences")
    for raters in human_ratings.RATERS
  },
}


def open_view(
  view: str, split: str, *, data_dir: str, raters: str = ""
) -> Sequence[dict[str, Any]]:
  """One split of one view, built first if it is not there yet.

  Args:
    view: demonstrations, feedback or preferences.
    split: train, validation or test.
    raters: one of `human_ratings.RATERS` for the ratings of that half alone;
      empty for all. Demonstrations are the same for all.
    data_dir: where the source distribution and `tfds/` lie.

  Raises:
    UserError: the source cannot be had, `data_dir` cannot be written though
      something has to be built, or tensorflow-datasets is not installed.
  """
  root = pathlib.Path(data_dir)
  view = f"{view}_{raters}" if raters and view != "demonstrations" else view
  try:
    if not _builder(root, view).is_prepared():
      root.mkdir(parents=True, exist_ok=True)
      with _alone(root / ".human_ratings.lock"):
        _build(root, view)
    return _builder(root, view).as_data_source(split=split)
  except OSError as error:
    raise errors.UserError(
      f"cannot use the data directory {root}: {error.strerror or error}; choose"
      " another with --config.data.dir (prepare_data.py: --data_dir)"
    ) from error


def indices_of(view: Sequence[Mapping[str, Any]], domain: str) -> list[int]:
  """Indices of the rows of one domain in a view; reads it whole."""
  return [
    index
    for index in range(len(view))
    if decoded(view[index])["domain"] == domain
  ]


def decoded(row: Mapping[str, Any]) -> dict[str, Any]:
  """A row as TFDS returns it, its bytes as text."""
  return {
    name: value.decode("utf-8") if isinstance(value, bytes) else value
    for name, value in row.items()
  }


def tfds() -> types.ModuleType:
  """The tensorflow-datasets module.

  Raises:
    UserError: it is not installed.
  """
  try:
    import tensorflow_datasets
  except ImportError as error:
    raise errors.not_installed("tensorflow-datasets", extra="data") from error
  return tensorflow_datasets


@contextlib.contextmanager
def _alone(lock: pathlib.Path) -> Iterator[None]:
  """Lets one process build at a time; the others wait and find it built."""
  with lock.open("w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield


def _builder(root: pathlib.Path, view: str) -> Any:
  return _builder_class()(
    data_dir=str(root / "tfds"), config=view, file_format="array_record"
  )


def _build(root: pathlib.Path, view: str) -> None:
  """Builds a view, unless another process did while we waited for the lock."""
  builder = _builder(root, view)
  if builder.is_prepared():
    return
  # Whatever is here is what a killed process left: the lock is ours. A folder
  # with the final name but no dataset_info.json was not made by renaming.
  parent = root / "tfds" / "human_ratings" / view
  for rest in [*parent.glob("incomplete.*"), parent / VERSION]:
    if rest.is_dir():
      shutil.rmtree(rest)
  print(f"preparing human_ratings/{view} in {root / 'tfds'}", flush=True)
  with contextlib.redirect_stdout(io.StringIO()):
    builder.download_and_prepare()


@functools.cache
def _builder_class() -> type:
  """Defined when first needed; tensorflow-datasets registers it by name."""
  library = tfds()
  library.disable_progress_bar()

  class HumanRatings(library.core.GeneratorBasedBuilder):
    """Human-rated texts of Hutto and Gilbert, ICWSM 2014."""

    VERSION = library.core.Version(VERSION)
    BUILDER_CONFIGS = [  # noqa: RUF012
      library.core.BuilderConfig(name=name) for name in _CONFIGS
    ]
    name = "human_ratings"

    def _info(self) -> Any:
      columns = _COLUMNS[_CONFIGS[self.builder_config.name][0]]
      features = {
        column: library.features.Scalar(np.float64)
        if column in _NUMBERS
        else library.features.Text()
        for column in columns
      }
      return library.core.DatasetInfo(
        builder=self,
        description="Texts that people rated from -4 to 4.",
        features=library.features.FeaturesDict(features),
        homepage="https://github.com/cjhutto/vaderSentiment",
      )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
      del dl_manager
      source = pathlib.Path(self._data_dir_root).parent
      texts = human_ratings.read_source(source)
      raters = _CONFIGS[self.builder_config.name][1]
      if raters:
        texts = human_ratings.of_raters(texts, raters)
      framed = human_ratings.frame(texts)
      return {
        split: self._generate_examples(
          [text for text in framed if text.source.split == split]
        )
        for split in human_ratings.SPLITS
      }

    def _generate_examples(
      self, framed: Sequence[human_ratings.Framed]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
      view = _CONFIGS[self.builder_config.name][0]
      yield from enumerate(human_ratings.VIEWS[view](framed))

  return HumanRatings
