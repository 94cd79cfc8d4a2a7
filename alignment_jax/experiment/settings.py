"""What an experiment is, as frozen values; `reading` makes them of a config."""

import dataclasses
from collections.abc import Mapping
from typing import Any

# Judges that a run trains before its main stage, by the name of their stage.
TRAINED_JUDGES = ("reward_model", "preference_model")
# Where the method knows by itself what is good.
NO_JUDGE = "none"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
  """How parameters move.

  Attributes:
    name: a key of `OPTIMIZERS`.
    learning_rate: its peak.
    schedule: a key of `SCHEDULES`, after the warm-up.
    warmup_steps: steps of linear warm-up.
    weight_decay: decoupled decay of linear maps.
    clip_norm: largest global gradient norm; 0 in a config, and None here, does
      not clip.
  """

  name: str
  learning_rate: float
  schedule: str
  warmup_steps: int
  weight_decay: float
  clip_norm: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
  """How long and how much at a time.

  Attributes:
    steps: updates; 0 leaves the stage out.
    batch_size: rows of the data per update, over all devices.
    microbatches: parts that a minibatch is processed in, to save memory.
    epochs: how often a batch is gone through.
    minibatches: parts of a batch, shuffled, that get an optimizer step each.
    log_every: steps between two lines of metrics.
    checkpoint_every: steps between two checkpoints.
  """

  steps: int
  batch_size: int
  microbatches: int
  epochs: int
  minibatches: int
  log_every: int
  checkpoint_every: int

  def optimizer_steps(self) -> int:
    """How often the optimizer moves the parameters in all."""
    return self.steps * self.epochs * self.minibatches


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
  """What to learn from.

  Attributes:
    source: `human_ratings`, or one domain as `human_ratings/movie`, or a half
      of each text's raters as `human_ratings:first` and `:second`; `xsum`, or
      `xsum:45` for the first sentences of at most 45 words of each document; a
      .jsonl or .parquet file; or `tfds:NAME`.
    dir: where prepared data are kept.
    prompt_length: tokens of a prompt; its tail is kept.
    response_length: tokens of a response.
    min_probability: pairs whose more likely label is less likely than this are
      not trained on; up to 0.5 for all.
  """

  source: str
  dir: str
  prompt_length: int
  response_length: int
  min_probability: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokenizer:
  """The tokenizer that is trained on the text.

  Attributes:
    vocabulary_size: at most this many pieces.
  """

  vocabulary_size: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mesh:
  """Devices per mesh axis; data=-1 takes the rest."""

  data: int
  fsdp: int
  tensor: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
  """How the result is judged.

  Attributes:
    judge: a key of `JUDGES` that needs no settings: who decides the first win
      rate. It is shown what people responded, where the data have it.
    prompts: how many held-out prompts; 0 leaves evaluation out.
    batch_size: prompts at a time.
    temperature: of sampling.
    samples_shown: prompts in the report, side by side.
  """

  judge: str
  prompts: int
  batch_size: int
  temperature: float
  samples_shown: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lora:
  """Low-rank adapters instead of full training.

  They apply to every stage that starts from a trained policy, that of
  `init_from` or of the run's own `sft`; `sft` itself trains all parameters.

  Attributes:
    rank: of each adapter; 0 trains all parameters.
    alpha: strength; the product of an adapter is scaled by alpha / rank.
    targets: patterns of paths of kernels, such as `*/attention/*/kernel`.
  """

  rank: int
  alpha: float
  targets: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
  """How a method that learns online gets what it learns from.

  A response is as long as `data.response_length` lets it be.

  Attributes:
    samples: responses of the policy to each prompt.
    temperature: logits are divided by it, in sampling and in learning.
    missing_eos_penalty: taken off the reward of a response that did not end.
    judge: `name`, a key of `JUDGES`, and its settings; or `sum` and `judges`,
      the names of several with their settings and weights; or `reward_model` or
      `preference_model`, which this run trains, or another one did: the folder
      of that stage as `path`; or `none` for a method that needs no judge.
      Reward models of several runs, as a tuple of paths, are an ensemble:
      `combine` is `mean`, `worst`, `less_variance` or `less_deviation`, the
      last two with a `coefficient`; see `feedback.convert.combined`.
    preference_scale: what a difference of rewards is multiplied by to become
      the log-odds of a preference, where the method wants those; 0 lets the
      better response win.
    staleness: updates that the policy that samples may lag behind the one that
      learns; above 0 both work at once.
    generator_devices: the first so many devices sample and the others learn; 0
      for all to do both.
  """

  samples: int
  temperature: float
  missing_eos_penalty: float
  judge: Mapping[str, Any]
  preference_scale: float
  staleness: int
  generator_devices: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
  """One training run.

  Attributes:
    algorithm: `name` and the method's own keywords.
    optimizer: how parameters move.
    training: how long.
  """

  algorithm: Mapping[str, Any]
  optimizer: Optimizer
  training: Training


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """A whole experiment.

  Attributes:
    seed: of everything random.
    init_from: folder of a finished stage to start from; None trains `sft`.
    model: `name` and fields of the family's settings.
    tokenizer: how it is trained.
    data: what to learn from.
    mesh: where to run.
    evaluation: how the result is judged.
    lora: what stages train that start from a trained policy.
    sft: the stage before the main one; None where the main one is SFT.
    reward_model: a judge trained on the same data; None for none.
    preference_model: another, which reads two responses at once; None for none.
    sampling: how responses are sampled and judged; None where the main method
      learns from the data as they are.
    reference_update: `name`, a key of `REFERENCE_UPDATES`, and its settings:
      what happens to policy and reference between updates.
    main: the method of this experiment.
  """

  seed: int
  init_from: str | None
  model: Mapping[str, Any]
  tokenizer: Tokenizer
  data: Data
  mesh: Mesh
  evaluation: Evaluation
  lora: Lora
  sft: Stage | None
  reward_model: Stage | None
  preference_model: Stage | None
  sampling: Sampling | None
  reference_update: Mapping[str, Any]
  main: Stage

  def stages(self) -> dict[str, Stage]:
    """The stages in their order, by name; the main one under `main`."""
    given = {
      "sft": self.sft,
      "reward_model": self.reward_model,
      "preference_model": self.preference_model,
      "main": self.main,
    }
    return {name: stage for name, stage in given.items() if stage is not None}

  def need_sampling(self) -> Sampling:
    """`sampling`, of a main method that samples.

    Raises:
      ValueError: it does not.
    """
    if self.sampling is None:
      raise ValueError("the main method samples nothing")
    return self.sampling

  def trained(self) -> dict[str, Stage]:
    """Those of `stages` that have steps to run; no SFT after `init_from`."""
    return {
      name: stage
      for name, stage in self.stages().items()
      if stage.training.steps and not (name == "sft" and self.init_from)
    }
