"""What generation beside learning is worth, and what a step costs around it.

    python benchmarks/online.py

RLOO with a judge that counts even tokens, on two CPU devices.

1. The share of a synchronous step, on one device, that is neither sampling,
   judging nor the update.
2. Synchronous seconds per step over asynchronous (staleness 1), sampling and
   learning on a device each; the limit is (sampling + learning) / the longer of
   the two. Rewards at the end of both runs.

A device is one core: XLA's threads serve all devices of a CPU, so what uses one
device after the other is held to one core, and what uses both has two. Needs
Linux and two cores.
"""

import contextlib
import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
)

os.environ["JAX_NUM_CPU_DEVICES"] = "2"

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

from alignment_jax import algorithms, models, parallel, rollouts, types
from alignment_jax.training import asynchronous, batch_sources, state, step

STEPS = flags.DEFINE_integer("steps", 100, "updates of each run")
ROUNDS = flags.DEFINE_integer("rounds", 3, "pairs of runs; the median counts")
EPOCHS = flags.DEFINE_integer("epochs", 1, "of each batch, to make it longer")
TOKENS = flags.DEFINE_integer("max_tokens", 48, "length of a response")
ROWS = flags.DEFINE_integer(
  "rows", 1, "prompts of a batch, 2 responses to each"
)
WARM = 3
CORES = sorted(os.sched_getaffinity(0))
KEY = jax.random.key(0)


def batches(number: int) -> tuple[types.Prompts, dict[str, Any]]:
  random = np.random.default_rng(number)
  ids = random.integers(2, 256, (ROWS.value, 8)).astype(np.int32)
  return types.Prompts(types.Tokens(ids, np.ones(ids.shape, bool))), {}


def judge(rollout: types.Rollout, index: int) -> types.Feedback:
  del index
  even = (rollout.responses.ids % 2 == 0) & rollout.responses.mask
  return types.Feedback(rewards=even.mean(axis=-1).astype(np.float32))


def use_cores(count: int) -> None:
  """Holds every thread of this process to so many cores."""
  for thread in os.listdir("/proc/self/task"):
    with contextlib.suppress(ProcessLookupError):  # it has ended
      os.sched_setaffinity(int(thread), CORES[:count])


class Run:
  """Where to sample and where to learn; the first `WARM` steps compile."""

  def __init__(self, generator: Any, learner: Any) -> None:
    self.model = models.make_model("decoder_mini", vocabulary_size=256)
    sampling = rollouts.Sampling(
      samples=2, max_tokens=TOKENS.value, temperature=1.0, eos_id=1
    )
    algorithm = algorithms.rloo(self.model, sampling=sampling, beta=0.02)
    self.optimizer = optax.adam(1e-3)
    self.algorithm = algorithm
    self.learner, self.generator = learner, generator
    self.make = batch_sources.sampler(
      algorithm.rollouts, judge, batches, KEY, mesh=generator
    )
    self.finish = batch_sources.preparer(algorithm.rollouts, learner)
    self.transfer = asynchronous.transfer_to(generator, self.model.axes)
    self.update = parallel.jit(
      step.make_update(algorithm, self.optimizer, epochs=EPOCHS.value),
      donate_argnums=0,
    )

  def start(self) -> Any:
    return jax.device_put(
      parallel.jit(
        lambda: state.make_state(
          self.algorithm, self.optimizer, KEY, self.model.init(KEY)
        )
      )(),
      parallel.replicated(self.learner),
    )

  def seconds(self, staleness: int) -> tuple[float, float]:
    """Seconds per step after the warm-up, and the mean reward of the last
    quarter."""
    use_cores(2 if staleness else 1)
    now, rewards = self.start(), []
    with asynchronous.Asynchronous(
      self.make,
      self.finish,
      transfer=self.transfer,
      start=0,
      steps=STEPS.value + WARM,
      staleness=staleness,
      restart_every=10**9,
    ) as feed:
      for number in range(STEPS.value + WARM):
        if number == WARM:
          jax.block_until_ready(now)
          begun = time.perf_counter()
        batch, _ = feed(number, now)
        now, metrics = self.update(now, batch, KEY)
        # As a loop that logs every step does.
        rewards.append(float(metrics["rewards/mean"]))
    jax.block_until_ready(now)
    taken = (time.perf_counter() - begun) / STEPS.value
    return taken, statistics.mean(rewards[-STEPS.value // 4 :])

  def parts(self) -> list[float]:
    """Seconds of sampling and judging, of preparing and updating, and of the
    whole step."""
    use_cores(1)
    now, sampling, learning, whole = self.start(), [], [], []
    for number in range(STEPS.value + WARM):
      begun = time.perf_counter()
      params = now.trainable, now.slow
      if self.generator is not self.learner:
        params = jax.block_until_ready(
          self.transfer(jax.tree.map(jnp.copy, params))
        )
      transferred = time.perf_counter()
      scored = self.make(number, number, *params)
      sampled = time.perf_counter()
      batch, _ = self.finish(number, now, scored)
      now, metrics = self.update(now, batch, KEY)
      jax.block_until_ready(now)
      done = time.perf_counter()
      float(metrics["rewards/mean"])
      if number >= WARM:
        sampling.append(sampled - transferred)
        learning.append(done - sampled)
        whole.append(time.perf_counter() - begun)
    return [statistics.median(part) for part in (sampling, learning, whole)]


def main(argv: Sequence[str]) -> None:
  del argv
  first, second = (
    parallel.make_mesh(data=1, fsdp=1, tensor=1, devices=[device])
    for device in jax.devices()[:2]
  )
  print(f"on {jax.devices()[0].device_kind}, two devices of one core each")
  sampling, learning, whole = Run(first, first).parts()
  print(
    "share of a synchronous step outside sampling, judging and the update:"
    f" {1 - (sampling + learning) / whole:.1%}"
  )
  run = Run(first, second)
  sampling, learning, _ = run.parts()
  print(f"sampling and judging / learning: {sampling / learning:.2f}")
  ratios, rewards = [], []
  for _ in range(ROUNDS.value):
    (slow, before), (fast, after) = run.seconds(0), run.seconds(1)
    ratios.append(slow / fast)
    rewards.append((before, after))
  print(
    "synchronous / asynchronous seconds per step:"
    f" {statistics.median(ratios):.2f} ({min(ratios):.2f} to"
    f" {max(ratios):.2f}); the limit here is"
    f" {(sampling + learning) / max(sampling, learning):.2f}"
  )
  print(
    "mean reward of the last quarter, synchronous and asynchronous:"
    f" {rewards[-1][0]:.2f} and {rewards[-1][1]:.2f}"
  )


if __name__ == "__main__":
  app.run(main)
