"""A plan in words, as it is printed before anything runs."""

import jax

from alignment_jax import parallel
from alignment_jax.experiment.plans import Plan, StagePlan


def describe(plan: Plan) -> str:
  """Device mesh, shardings, network, stages and evaluation, line by line."""
  count = sum(leaf.size for leaf in jax.tree.leaves(plan.abstract))
  settings = plan.settings
  evaluation = settings.evaluation
  lines = [
    f"device mesh: {dict(plan.mesh.shape)} of {jax.devices()[0].platform}",
  ]
  if plan.generator is not plan.mesh:
    lines.append(f"sampling on: {dict(plan.generator.shape)}")
  lines += [
    parallel.describe(plan.mesh, plan.abstract, plan.model.axes),
    f"{settings.model['name']}: {count:,} parameters,"
    f" {plan.tokenizer.vocabulary_size:,} tokens",
    f"data: {settings.data.source}; {settings.data.prompt_length} tokens of a"
    f" prompt and {settings.data.response_length} of a response are read",
    *(_stage(plan, stage) for stage in plan.stages),
    (
      f"evaluation: {evaluation.prompts} held-out prompts, judged by"
      f" {evaluation.judge}"
      if evaluation.prompts
      else "evaluation: none"
    ),
  ]
  return "\n".join(lines)


def _stage(plan: Plan, stage: StagePlan) -> str:
  training = stage.settings.training
  rows = len(plan.sources.rows(stage.data_kind, "train"))
  epochs = training.steps * training.batch_size / rows
  parts = [
    f"{training.steps} steps of {training.batch_size}",
    f"{epochs:.1f} times through {rows:,} rows of kind '{stage.data_kind}'",
    f"{stage.settings.optimizer.name} at"
    f" {stage.settings.optimizer.learning_rate:g}",
    "from new parameters"
    if stage.starts_from is None
    else f"from {stage.starts_from}",
  ]
  if stage.adapts:
    parts.append(f"LoRA of rank {plan.settings.lora.rank}")
  if stage.critic_from is not None:
    parts.append(f"critic from {stage.critic_from}")
  if stage.algorithm.rollouts is not None and stage.sampling is not None:
    parts.append(
      f"{stage.sampling.samples} samples a prompt, feedback:"
      f" {stage.algorithm.rollouts.feedback} from"
      f" {plan.settings.need_sampling().judge['name']}"
    )
  return f"stage {stage.name}: " + "; ".join(parts)
