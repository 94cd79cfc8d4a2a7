"""What every script shares: configs can import each other, and a user's mistake
is one line and exit status 2 instead of a stack trace."""

import pathlib
import shlex
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from alignment_jax import errors

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def run(main: Callable[[], None]) -> None:
  """Parses flags and runs `main`."""

  def guarded(argv: Sequence[str]) -> None:
    if len(argv) > 1:
      raise app.UsageError(f"unexpected argument: {argv[1]}")
    if not flags.FLAGS["verbosity"].present:
      logging.set_verbosity(logging.ERROR)  # libraries are talkative
    try:
      main()
    except errors.UserError as error:
      print(f"error: {error}", file=sys.stderr)
      sys.exit(2)

  app.run(guarded, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
  """Flags and the config they name; or one line that says what is wrong."""
  try:
    rest = flags.FLAGS(argv)
    if "config" in flags.FLAGS:
      _ = flags.FLAGS.config.to_dict  # raises if the file did not load
    return rest
  except Exception as error:  # a config is a program: it may raise anything
    lines = [
      line.strip() for line in str(error).replace("\\n", "\n").splitlines()
    ]
    lines = [line for line in lines if line] or [type(error).__name__]
    reason = lines[-1] if "Traceback" in str(error) else " ".join(lines)
    reason = _renamed(argv) or f"{reason} (see --help)"
    print(f"error: {reason}", file=sys.stderr)
    sys.exit(2)


def _renamed(argv: Sequence[str]) -> str | None:
  """What the first flag with an earlier version's name is called now."""
  from alignment_jax.experiment import renamed

  for argument in argv[1:]:
    path = argument.lstrip("-").partition("=")[0]
    if path.startswith("config."):
      advice = renamed.advice(path.removeprefix("config."))
      if advice:
        return advice
  return None


def command() -> str:
  """The command line of this process, as typed."""
  return "python " + shlex.join(sys.argv)
