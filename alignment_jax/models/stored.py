"""Tensors on disk, by the names that the Hugging Face hub gives them."""

import pathlib
from typing import Any, Protocol, runtime_checkable

import numpy as np

from alignment_jax import errors, files

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
NEXT_STEP = "give a folder in the format of the Hugging Face hub"


@runtime_checkable
class Stored(Protocol):
  """Tensors by the names that the hub gives them."""

  folder: pathlib.Path

  def names(self) -> set[str]:
    """All names."""
    ...

  def read(self, name: str) -> np.ndarray:
    """One tensor."""
    ...


class SafetensorsFolder:
  """The tensors of a folder, by name; a file is opened to be read.

  A checkpoint of the bare network leaves the prefix out of every name; here
  names always have it.
  """

  def __init__(self, folder: pathlib.Path, prefix: str) -> None:
    self.folder = folder
    if (folder / INDEX).is_file():
      index = files.read_json(folder / INDEX, next_step=NEXT_STEP)
      file_of = dict(index["weight_map"])
    elif (folder / WEIGHTS).is_file():
      file_of = dict.fromkeys(self._opened(WEIGHTS).keys(), WEIGHTS)
    else:
      pickled = sorted(path.name for path in folder.glob("*.bin"))
      raise errors.UserError(
        f"{folder} holds neither {WEIGHTS} nor {INDEX}"
        + (f", only {pickled[0]}, a pickle" if pickled else "")
        + "; save the model as safetensors first"
      )
    bare = not any(name.startswith(prefix) for name in file_of)
    self._locations = {
      prefix * bare + name: (file, name) for name, file in file_of.items()
    }

  def names(self) -> set[str]:
    return set(self._locations)

  def read(self, name: str) -> np.ndarray:
    file, stored_name = self._locations[name]
    try:
      # Anew each time: what was read stays mapped while a file is open.
      return self._opened(file).get_tensor(stored_name)
    except errors.UserError:
      raise
    except Exception as error:
      raise errors.UserError(
        f"{self.folder / file}: cannot read '{stored_name}': {error}"
      ) from error

  def _opened(self, file: str) -> Any:
    import safetensors

    path = self.folder / file
    try:
      return safetensors.safe_open(path, framework="numpy")
    except FileNotFoundError as error:
      raise errors.UserError(
        f"{path} is missing, but {INDEX} names it"
      ) from error
    except Exception as error:
      raise errors.UserError(
        f"{path} is not a whole safetensors file: {error}; fetch it again"
      ) from error
