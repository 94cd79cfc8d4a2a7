"""The data of an experiment, opened once."""

import functools
from collections.abc import Sequence
from typing import Any

from alignment_jax import data
from alignment_jax.experiment.settings import Data


class Sources:
  """Rows by kind and split; each is read when first asked for, and kept.

  Args:
    settings: which data.

  Raises:
    UserError: there is no such source.
  """

  def __init__(self, settings: Data) -> None:
    self._settings = settings
    self._source = data.Source(settings.source, data_dir=settings.dir)

  def rows(self, kind: str, split: str) -> Sequence[dict[str, Any]]:
    """The rows of one kind in one split.

    Pairs to train on are those that are sure enough, as
    `Data.min_probability` says.

    Raises:
      UserError: the data cannot be read, or have no such rows.
    """
    if (kind, split) == ("preference", "train"):
      return self._pairs_to_train_on
    return self._source.rows(kind, split)

  @functools.cached_property
  def _pairs_to_train_on(self) -> Sequence[dict[str, Any]]:
    settings = self._settings
    return data.confident(
      self._source.rows("preference", "train"),
      settings.min_probability,
      settings.source,
    )
