"""The data of an experiment, each part of it opened once."""

from collections.abc import Sequence
from typing import Any

from alignment_jax import data
from alignment_jax.experiment.settings import Data


class Sources:
  """Rows by kind and split, read when first asked for and kept.

  Args:
    settings: which data.
  """

  def __init__(self, settings: Data) -> None:
    self._settings = settings
    self._opened: dict[tuple[str, str], Sequence[dict[str, Any]]] = {}

  def rows(self, kind: str, split: str) -> Sequence[dict[str, Any]]:
    """The rows of one kind in one split.

    Pairs to train on are those that are sure enough, as
    `Data.min_probability` says.

    Raises:
      UserError: the data cannot be read, or have no such rows.
    """
    if (kind, split) not in self._opened:
      settings = self._settings
      rows = data.open_source(
        settings.source, kind, split, data_dir=settings.dir
      )
      if kind == "preference" and split == "train":
        rows = data.confident(rows, settings.min_probability, settings.source)
      self._opened[kind, split] = rows
    return self._opened[kind, split]
