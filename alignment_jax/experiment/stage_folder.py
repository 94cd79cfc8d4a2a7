"""What a finished stage leaves in its folder, and how it is read again."""

import dataclasses
import pathlib
from typing import Any

import jax
from jaxtyping import PyTree

from alignment_jax import errors, models, parallel
from alignment_jax.experiment import folder, methods
from alignment_jax.models import heads
from alignment_jax.training import checkpoint

# The parameters at the end of a stage; there only when it is finished.
FINAL = "final"
# Tokens that an imported policy reads of a prompt, unless told otherwise.
PROMPT_LENGTH = 512


@dataclasses.dataclass(frozen=True)
class StageRef:
  """A stage to read from, of this run or of another.

  Attributes:
    name: of the stage.
    path: its folder in another run; None in the run at hand.
  """

  name: str
  path: pathlib.Path | None = None

  def under(self, workdir: pathlib.Path) -> pathlib.Path:
    """Its folder, for a run in `workdir`."""
    return workdir / self.name if self.path is None else self.path

  def __str__(self) -> str:
    return self.name if self.path is None else str(self.path)


def is_finished(path: pathlib.Path) -> bool:
  """Whether the stage in this folder ran to its end."""
  return (path / FINAL).is_dir()


def open_stage(path: pathlib.Path) -> tuple[models.Model, Any, dict[str, Any]]:
  """The model, tokenizer and metadata of a finished stage's folder.

  Raises:
    UserError: the folder holds none, or its files are damaged.
  """
  metadata = folder.read_model(path)
  model = models.make_model(metadata["name"], **metadata["settings"])
  return model, folder.load_tokenizer(path), metadata


def load_policy(
  path: pathlib.Path, model: models.Model, mesh: jax.sharding.Mesh
) -> PyTree:
  """The policy that the stage in `path` ended with.

  Raises:
    UserError: the stage is not finished, or has no policy.
  """
  name = folder.read_model(path)["algorithm"]["name"]
  trains = methods.method_named(name).trains
  if trains != "policy":
    raise errors.UserError(
      f"{path} holds no policy but: {trains}; give the folder of a stage that"
      " trains one, such as sft or ipo"
    )
  return load_tree(path, "policy", model, mesh)


def load_tree(
  path: pathlib.Path, name: str, model: models.Model, mesh: jax.sharding.Mesh
) -> PyTree:
  """One tree of what a stage trained, placed on the mesh.

  Args:
    path: of the stage.
    name: of the tree: `policy`, or that of a network with a scalar head, such
      as `reward`, `preference` or `value`.
    model: the network.
    mesh: where it is wanted.

  Raises:
    UserError: the stage is not finished, or holds no such tree.
  """

  def init(key: jax.Array) -> dict[str, PyTree]:
    if name == "policy":
      return {name: model.init(key)}
    head = heads.init_scalar(key, model.settings.width)
    return {name: {"network": model.init(key), "head": head}}

  abstract = jax.eval_shape(init, jax.random.key(0))
  placed = parallel.shardings(mesh, abstract, model.axes)
  return checkpoint.restore_tree(
    path / FINAL, checkpoint.target_of(abstract, placed)
  )[name]
