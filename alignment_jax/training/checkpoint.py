"""Checkpoints through Orbax: save, and restore with a target.

Orbax writes into a temporary folder and renames it when complete, so a process
that is killed leaves the last complete checkpoint behind and nothing else that
counts.
"""

import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp
from jaxtyping import PyTree

from alignment_jax import errors


class Checkpoints:
  """The checkpoints of one stage, newest kept.

  A context manager: leaving it waits for what is still being written.
  """

  def __init__(self, directory: pathlib.Path, *, keep: int = 2) -> None:
    self._directory = directory
    self._manager = ocp.CheckpointManager(
      directory.absolute(),
      options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=True),
      item_names=("state", "meta"),
    )

  def latest(self) -> int | None:
    """The step of the newest complete checkpoint."""
    return self._manager.latest_step()

  def save(self, step: int, state: PyTree, meta: dict[str, Any]) -> None:
    """Writes in the background; a step that is there already stays."""
    # As after a batch source that failed right behind a checkpoint.
    if step == self.latest():
      return
    self._manager.save(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta)
      ),
    )

  def restore(self, step: int, target: PyTree) -> PyTree:
    """The state of that step, on the devices that `target` says.

    Args:
      step: from `latest`.
      target: shapes, dtypes and shardings; another mesh is another target.

    Raises:
      UserError: the checkpoint has another tree or other shapes.
    """
    try:
      _check_shapes(self._directory / str(step) / "state", target)
      return self._manager.restore(
        step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target))
      )["state"]
    except (ValueError, KeyError, FileNotFoundError) as error:
      raise _unreadable(self._directory / str(step), error) from error

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *exception: object) -> None:
    del exception
    self._manager.wait_until_finished()
    self._manager.close()


def save_tree(path: pathlib.Path, tree: PyTree) -> None:
  """Writes one tree and waits for it; replaces what is there."""
  with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(path.absolute(), tree, force=True)


def restore_tree(path: pathlib.Path, target: PyTree) -> PyTree:
  """What `save_tree` wrote, or a part of it, on the devices of `target`.

  Args:
    path: as saved.
    target: shapes, dtypes and shardings of the leaves that are wanted; others
      are not read.

  Raises:
    UserError: nothing is there, or a leaf is missing or has another shape.
  """
  if not path.is_dir():
    raise errors.UserError(
      f"{path} holds no finished parameters; train that stage to its end first"
    )
  try:
    _check_shapes(path, target)
    with ocp.PyTreeCheckpointer() as checkpointer:
      return checkpointer.restore(
        path.absolute(),
        args=ocp.args.PyTreeRestore(
          item=target,
          restore_args=ocp.checkpoint_utils.construct_restore_args(target),
          partial_restore=True,
        ),
      )
  except (ValueError, KeyError, FileNotFoundError) as error:
    raise _unreadable(path, error) from error


def target_of(tree: PyTree, shardings: PyTree) -> PyTree:
  """Shapes and dtypes of `tree`, with where `shardings` puts its leaves."""
  return jax.tree.map(
    lambda leaf, sharding: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=sharding
    ),
    tree,
    shardings,
  )


def _check_shapes(path: pathlib.Path, target: PyTree) -> None:
  """Refuses a stored leaf of another shape before anything is read.

  Orbax finds it while it reads, and leaves the reads of other leaves behind.

  Raises:
    ValueError: names the leaf and both shapes.
  """
  with ocp.PyTreeCheckpointer() as checkpointer:
    tree = checkpointer.metadata(path.absolute()).item_metadata.tree
  stored = {
    _name(keys): tuple(leaf.shape)
    for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }
  for keys, leaf in jax.tree_util.tree_leaves_with_path(target):
    # A leaf that is missing has a clear error of Orbax's own.
    shape = stored.get(_name(keys), leaf.shape)
    if shape != leaf.shape:
      raise ValueError(
        f"{_name(keys)} has shape {shape} there, not {leaf.shape}"
      )


def _name(keys: tuple[Any, ...]) -> str:
  """A path in a tree as Orbax writes it, whatever holds the leaves."""
  parts = (
    getattr(key, "key", getattr(key, "name", getattr(key, "idx", None)))
    for key in keys
  )
  return ".".join(map(str, parts))


def _unreadable(path: pathlib.Path, error: Exception) -> errors.UserError:
  reason = str(error).strip().splitlines()[0][:300]
  return errors.UserError(
    f"checkpoint {path} does not fit this model and optimizer: {reason}"
  )
