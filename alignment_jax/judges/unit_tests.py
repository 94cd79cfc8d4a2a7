"""Whether the code in a response passes tests, run where it can do no harm."""

import concurrent.futures
import contextlib
import json
import math
import os
import pathlib
import re
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO, NamedTuple

import numpy as np

from alignment_jax import errors
from alignment_jax.judges import base, sandbox

_BLOCK = re.compile(r"```(?:[Pp]ython3?|py)?[ \t]*\r?\n(.*?)(?:```|\Z)", re.S)
_MOST_OUTPUT = 2**20  # bytes; a line per passed test is a few dozen


class _Limits(NamedTuple):
  timeout_seconds: float
  memory_bytes: int
  isolate: bool


def unit_tests_judge(
  *,
  timeout_seconds: float = 5.0,
  memory_mebibytes: int = 512,
  workers: int = 4,
  isolate: bool = True,
) -> base.RewardJudge:
  """The share of its tests that the Python code in a response passes.

  The code is the response's last fenced block of Python (or of no named
  language), or the whole response without one. The tests are the reference's
  text: each `assert` and each call at its top level is a test (such as
  HumanEval's `check(f)`), and so is each function `test...` that needs no
  arguments. They run in order after the code, in its namespace. One that raises
  has failed; with one that ends the process or takes too long, so have those
  behind it. Code that raises by itself fails them all.

  Each response runs in a new interpreter that sees the standard library alone:
  an empty environment, an empty folder, limits of CPU and wall-clock time,
  memory and output, and a Linux seccomp filter with which it cannot open a
  socket, start a process or a thread, write, delete or rename a file, or signal
  another process (see `sandbox`). It is killed when time is up.

  What this is not: the code can read whatever files the user can read, though
  it can tell nobody; it takes the CPU time that it is given; it shares the
  kernel. And tests run inside the process of the code: code written to cheat
  can find the tests, replace built-in functions, or return objects that equal
  everything. Printing, exiting early, or writing to the channel of the results
  without its secret do not pass a test.

  Args:
    timeout_seconds: wall-clock and CPU time of one response with its tests.
    memory_mebibytes: address space of one response.
    workers: responses that run at once.
    isolate: False runs where there is no filter (macOS, processors other than
      x86-64, containers that forbid it): the code can then write the user's
      files and use the network. For code that is trusted.

  Returns:
    A judge of rewards in [0, 1].

  Raises:
    UserError: a setting is out of range or the filter does not work here; when
      judging, a prompt without a reference, or one that holds no test.
  """
  settings = {
    "timeout_seconds": timeout_seconds,
    "memory_mebibytes": memory_mebibytes,
    "workers": workers,
  }
  for name, value in settings.items():
    if not 0 < value < math.inf:
      raise errors.UserError(f"{name} must be above 0, got {value}")
  limits = _Limits(timeout_seconds, memory_mebibytes * 2**20, isolate)
  if _passed("", "assert True", limits) != 1:
    raise errors.UserError(
      f"no sandbox starts within timeout_seconds={timeout_seconds:g} and"
      f" memory_mebibytes={memory_mebibytes}; raise them"
    )

  def judge(
    prompts: Sequence[str],
    responses: Sequence[str],
    references: base.References = None,
  ) -> base.Rewards:
    base.require_one_each(references, prompts=prompts, responses=responses)
    known = base.require_references("unit_tests", prompts, references)
    counts = [_count(index, tests) for index, tests in enumerate(known)]
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
      passed = pool.map(
        lambda response, tests: _passed(_code(response), tests, limits),
        responses,
        known,
      )
      shares = [one / all for one, all in zip(passed, counts, strict=True)]
    return np.asarray(shares, np.float32)

  return judge


def _code(response: str) -> str:
  blocks = _BLOCK.findall(response)
  return blocks[-1] if blocks else response


def _count(index: int, tests: str) -> int:
  """How many tests a reference holds."""
  try:
    count = sum(is_test for is_test, _ in sandbox.split(tests))
  except (SyntaxError, ValueError) as error:
    raise base.JudgeError(
      f"the judge 'unit_tests' cannot read reference {index}"
      f" ({base.shortened(tests)}): {error}; the reference must be Python tests"
    ) from error
  if count == 0:
    raise base.JudgeError(
      f"the judge 'unit_tests' finds no test in reference {index}"
      f" ({base.shortened(tests)}); a test is an assert or a call at the top"
      " level, or a function test..."
    )
  return count


def _passed(code: str, tests: str, limits: _Limits) -> int:
  """How many tests the code passes, in a process of its own."""
  secret = secrets.token_hex(16)
  job = {
    "secret": secret,
    "code": code,
    "tests": tests,
    "cpu_seconds": math.ceil(limits.timeout_seconds) + 1,
    "memory_bytes": limits.memory_bytes,
    "isolate": limits.isolate,
  }
  with (
    tempfile.TemporaryDirectory() as folder,
    tempfile.TemporaryFile() as standard_input,
  ):
    standard_input.write(json.dumps(job).encode())
    standard_input.seek(0)
    process = subprocess.Popen(
      # -P -s -S: neither the folder nor installed packages can be imported.
      [sys.executable, "-P", "-s", "-S", "-B", pathlib.Path(sandbox.__file__)],
      stdin=standard_input,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      cwd=folder,
      env={"PYTHONHASHSEED": "0"},
      start_new_session=True,
    )
    assert process.stdout is not None  # it is a pipe
    try:
      output = _read(process.stdout, limits.timeout_seconds)
    finally:
      # Its group is gone where the system has reaped it.
      with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
      process.kill()
      process.wait()
      process.stdout.close()
  passed = set()
  for line in output.split(b"\n"):
    found, _, result = line.decode("utf-8", "replace").partition(" ")
    if found == secret and result.startswith("refused "):
      raise errors.UserError(
        f"no sandbox for the judge 'unit_tests': {result[8:]}; judge on Linux"
        " on x86-64, or pass isolate=False for code that you trust"
      )
    if found == secret:
      passed.add(result)
  return len(passed)


def _read(pipe: IO[bytes], seconds: float) -> bytes:
  """What comes through the pipe until it ends, time is up, or it is too much.

  A pipe may end while its process runs on; who calls kills it.
  """
  deadline = time.monotonic() + seconds
  output = b""
  with selectors.DefaultSelector() as selector:
    selector.register(pipe, selectors.EVENT_READ)
    while len(output) < _MOST_OUTPUT:
      left = deadline - time.monotonic()
      if left <= 0 or not selector.select(left):
        break
      part = os.read(pipe.fileno(), 2**16)
      if not part:
        break
      output += part
  return output
