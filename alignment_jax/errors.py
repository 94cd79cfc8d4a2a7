"""The one exception for a user's mistake: config, data, checkpoint or mesh.

The scripts in `experiments/` print it as one line and exit with status 2.
Anything else that escapes is a bug of ours and keeps its stack trace.
"""

from collections.abc import Iterable, Sized


class UserError(ValueError):
  """Bad input: names the value, what is allowed, and the next step."""


def unknown(what: str, name: object, available: Iterable[str]) -> UserError:
  """The error for a name that no table holds; it lists the table."""
  return UserError(
    f"no {what} '{name}'; available: {', '.join(sorted(available))}"
  )


def require_equal_counts(**sequences: Sized) -> None:
  """Refuses sequences of unequal lengths that belong together.

  Raises:
    ValueError: names the sequences and their lengths.
  """
  if len(set(map(len, sequences.values()))) > 1:
    raise ValueError(
      ", ".join(f"{len(items)} {name}" for name, items in sequences.items())
    )


def not_installed(package: str, *, extra: str) -> UserError:
  """The error for a package that an extra would have brought."""
  return UserError(how_to_install(package, extra=extra))


def how_to_install(package: str, *, extra: str) -> str:
  return (
    f"{package} is not installed: pip install {package}, or all of the extra"
    f" '{extra}' in a checkout: pip install -e '.[{extra}]'"
  )
