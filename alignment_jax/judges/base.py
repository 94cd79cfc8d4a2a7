"""What a judge is, and the guard around one.

A reward judge is `judge(prompts, responses, references=None) -> rewards`:
sequences of N texts in, float32 [N] out, larger is better. The references are
what a person wrote for each prompt, None where the data have none.

A preference judge is `prefer(prompts, first, second, references=None)`: P(first
preferred to second), float32 [N], in [0, 1].
"""

import contextvars
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from alignment_jax import errors

Rewards = Float32[np.ndarray, "N"]
References = Sequence[str | None] | None
RewardJudge = Callable[..., Rewards]
PreferenceJudge = Callable[..., Rewards]

_SHOWN = 60  # characters of a text that an error quotes


class JudgeError(errors.UserError):
  """A judge gave no usable result: says which, on what, and what to do."""


class _TimedOut(Exception):
  """The judge did not come back in time."""


def checked(
  judge: RewardJudge,
  name: str,
  *,
  low: float = -np.inf,
  high: float = np.inf,
  timeout_seconds: float | None = None,
) -> RewardJudge:
  """The judge, with every way to fail turned into one `JudgeError`.

  It raises, takes too long, returns another number of rewards or another shape,
  NaN, an infinity, or a reward outside [low, high]: the error names the judge,
  the first text at fault and the next step. To find the text on which a judge
  raises, the batch is halved and judged again, at most once over in all.

  An empty batch is not passed on.

  Args:
    judge: to guard.
    name: of the judge, for the error.
    low: the least reward it may give.
    high: the greatest.
    timeout_seconds: how long a batch may take; None for as long as it likes.
      With a limit the judge runs in a thread of its own, where JAX's context
      managers of the caller do not hold. A thread cannot be stopped: after the
      error it runs on until it returns.

  Returns:
    A judge of the same contract, of float32.

  Raises:
    UserError: the limit is not above 0.
  """
  ask = _guard(judge, name, low, high, timeout_seconds)

  def guarded(
    prompts: Sequence[str],
    responses: Sequence[str],
    references: References = None,
  ) -> Rewards:
    return ask({"prompt": prompts, "response": responses}, references)

  return guarded


def checked_preference(
  prefer: PreferenceJudge,
  name: str,
  *,
  timeout_seconds: float | None = None,
) -> PreferenceJudge:
  """As `checked`, for a preference judge: what it returns must be in [0, 1]."""
  ask = _guard(prefer, name, 0.0, 1.0, timeout_seconds)

  def guarded(
    prompts: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
    references: References = None,
  ) -> Rewards:
    texts = {"prompt": prompts, "first": first, "second": second}
    return ask(texts, references)

  return guarded


def require_one_each(
  references: References = None, **texts: Sequence[str]
) -> None:
  """Refuses sequences of texts of unequal lengths.

  Raises:
    ValueError: names the sequences and their lengths.
  """
  given = {} if references is None else {"references": references}
  errors.require_equal_counts(**texts, **given)


def require_references(
  name: str, prompts: Sequence[str], references: References
) -> Sequence[str]:
  """The references, after a check that no prompt lacks one.

  Raises:
    JudgeError: names the first prompt without a reference.
  """
  known: list[str] = []
  for index, reference in enumerate(references or [None] * len(prompts)):
    if reference is None:
      raise JudgeError(
        f"the judge '{name}' compares with a reference, and prompt {index}"
        f" ({shortened(prompts[index])}) has none; give data with references or"
        " choose a judge that needs none"
      )
    known.append(reference)
  return known


def shortened(text: object) -> str:
  """A text as an error quotes it."""
  shown = repr(text)
  return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."


def _guard(
  judge: Callable[..., Any],
  name: str,
  low: float,
  high: float,
  timeout_seconds: float | None,
) -> Callable[[Mapping[str, Sequence[str]], References], Rewards]:
  """`checked` for any number of sequences of texts."""
  if timeout_seconds is not None and not timeout_seconds > 0:
    raise errors.UserError(
      f"timeout_seconds of the judge '{name}' must be above 0, got"
      f" {timeout_seconds}; None is for no limit"
    )

  def ask(
    texts: Mapping[str, Sequence[str]], references: References
  ) -> Rewards:
    require_one_each(
      references, **{_plural(key): value for key, value in texts.items()}
    )
    count = len(texts["prompt"])
    if count == 0:
      return np.zeros(0, np.float32)

    def quoted(index: int) -> str:
      return ", ".join(
        f"{key} {index} {shortened(value[index])}"
        for key, value in texts.items()
      )

    def call(start: int, stop: int) -> Any:
      parts = [value[start:stop] for value in texts.values()]
      known = None if references is None else references[start:stop]
      return _within(timeout_seconds, judge, *parts, known)

    try:
      result = call(0, count)
    except JudgeError:
      raise
    except _TimedOut as error:
      raise JudgeError(
        f"the judge '{name}' returned nothing for {count} texts in"
        f" {timeout_seconds:g} s; the longest are"
        f" {quoted(_longest(texts, count))}; ask for fewer at a time or raise"
        " timeout_seconds"
      ) from error
    except Exception as error:
      index = _culprit(call, count)
      culprit = (
        f"somewhere in a batch of {count}, on no single one of them"
        if index is None
        else f"on {quoted(index)}"
      )
      raise JudgeError(
        f"the judge '{name}' raised {type(error).__name__}: {error}, {culprit};"
        " mend the judge, or leave such texts out"
      ) from error
    return _usable(result, name, count, low, high, quoted)

  return ask


def _usable(
  result: Any,
  name: str,
  count: int,
  low: float,
  high: float,
  quoted: Callable[[int], str],
) -> Rewards:
  """The result as float32 [count], or what is wrong with it."""
  try:
    result = np.asarray(result)
  except Exception as error:  # ragged, or an array that is gone
    raise JudgeError(
      f"the judge '{name}' returned no array of numbers: {error}; it must"
      f" return float32 [{count}]"
    ) from error
  if result.shape != (count,) or result.dtype.kind not in "fiub":
    raise JudgeError(
      f"the judge '{name}' returned {result.dtype} {list(result.shape)} for"
      f" {count} texts; it must return one number for each, float32 [{count}]"
    )
  with np.errstate(over="ignore"):  # a number too large is an infinity: below
    result = result.astype(np.float32)
  wrong = ~np.isfinite(result) | (result < low) | (result > high)
  if wrong.any():
    index = int(np.argmax(wrong))
    allowed = (
      "a finite number"
      if (low, high) == (-np.inf, np.inf)
      else f"in [{low:g}, {high:g}]"
    )
    raise JudgeError(
      f"the judge '{name}' gave {result[index]} to {quoted(index)}"
      f" ({int(wrong.sum())} of {count} such); a reward must be {allowed}: mend"
      " the judge, or leave such texts out"
    )
  return result


def _within(
  seconds: float | None, function: Callable[..., Any], *args: Any
) -> Any:
  """function(*args), or `_TimedOut`."""
  if seconds is None:
    return function(*args)
  results = queue.SimpleQueue()

  def run() -> None:
    try:
      results.put((function(*args), None))
    except BaseException as error:
      results.put((None, error))

  # A daemon, so that a judge that hangs does not keep the program alive.
  context = contextvars.copy_context()
  threading.Thread(target=context.run, args=(run,), daemon=True).start()
  try:
    result, error = results.get(timeout=seconds)
  except queue.Empty:
    raise _TimedOut from None
  if error is not None:
    raise error
  return result


def _culprit(call: Callable[[int, int], Any], count: int) -> int | None:
  """The index of a text on which the judge raises alone; None if none does."""

  def raises(start: int, stop: int) -> bool:
    try:
      call(start, stop)
    except Exception:
      return True
    return False

  start, stop = 0, count
  while stop - start > 1:
    middle = (start + stop) // 2
    start, stop = (start, middle) if raises(start, middle) else (middle, stop)
  return start if raises(start, stop) else None


def _longest(texts: Mapping[str, Sequence[str]], count: int) -> int:
  def size(index: int) -> int:
    return sum(len(str(value[index])) for value in texts.values())

  return max(range(count), key=size)


def _plural(key: str) -> str:
  return key if key in ("first", "second") else f"{key}s"
