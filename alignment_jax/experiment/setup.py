"""A plan in the folder where it is carried out."""

import dataclasses
import pathlib
from typing import Any

import jax

from alignment_jax import data, models
from alignment_jax.experiment import judge_stage
from alignment_jax.experiment.plans import Plan
from alignment_jax.experiment.settings import Settings


@dataclasses.dataclass(frozen=True)
class Setup:
  """What all stages of a run share.

  Attributes:
    plan: what is to be done.
    workdir: folder of the run.
  """

  plan: Plan
  workdir: pathlib.Path

  @property
  def settings(self) -> Settings:
    """Of the whole experiment."""
    return self.plan.settings

  @property
  def mesh(self) -> jax.sharding.Mesh:
    """Where to learn."""
    return self.plan.mesh

  @property
  def generator(self) -> jax.sharding.Mesh:
    """Where responses to learn from are sampled and judged."""
    return self.plan.generator

  @property
  def tokenizer(self) -> Any:
    """Of the run."""
    return self.plan.tokenizer

  @property
  def model(self) -> models.Model:
    """The network that learns."""
    return self.plan.model

  def judge_folder(self, name: str) -> pathlib.Path:
    """The stage of the judge of this name, of another run or of this one."""
    return judge_stage.stage_of(self.settings, name).under(self.workdir)

  def loader(self, kind: str, split: str, batch_size: int) -> data.Loader:
    """Batches of one kind from one split of the experiment's data."""
    settings = self.settings.data
    return data.Loader(
      self.plan.sources.rows(kind, split),
      kind,
      self.tokenizer,
      batch_size=batch_size,
      prompt_length=settings.prompt_length,
      response_length=settings.response_length,
      seed=self.settings.seed,
    )
