"""Runs code that nobody has read, in a process that may do almost nothing.

This file is the program of that process: `python sandbox.py < job`, where a
job is JSON with `secret`, `code`, `tests`, `cpu_seconds`, `memory_bytes` and
`isolate`. It imports the standard library alone. For every test that passes it
writes the line `<secret> <number of the test>` to its standard output, which
the code does not get: its own output goes nowhere.

Before the code runs, a Linux seccomp filter allows the system calls that are
listed below and no other: reading files, memory, clocks. There is no call to
make a socket, a process or a thread, to write, delete or rename a file, or to
send a signal. Limits of CPU time and memory come on top.
"""

import ast
import json
import os
import platform
import sys
import types
from typing import TypeGuard

# x86-64 system calls that the code may make; anything else fails with EPERM.
_ALLOWED = {
  "read": 0,
  "write": 1,
  "close": 3,
  "stat": 4,
  "fstat": 5,
  "lstat": 6,
  "poll": 7,
  "lseek": 8,
  "mmap": 9,
  "mprotect": 10,
  "munmap": 11,
  "brk": 12,
  "rt_sigaction": 13,
  "rt_sigprocmask": 14,
  "rt_sigreturn": 15,
  "pread64": 17,
  "readv": 19,
  "writev": 20,
  "access": 21,
  "select": 23,
  "sched_yield": 24,
  "mremap": 25,
  "madvise": 28,
  "nanosleep": 35,
  "getpid": 39,
  "exit": 60,
  "uname": 63,
  "getcwd": 79,
  "readlink": 89,
  "gettimeofday": 96,
  "getrusage": 98,
  "sysinfo": 99,
  "times": 100,
  "getuid": 102,
  "getgid": 104,
  "geteuid": 107,
  "getegid": 108,
  "sigaltstack": 131,
  "gettid": 186,
  "futex": 202,
  "sched_getaffinity": 204,
  "getdents64": 217,
  "restart_syscall": 219,
  "clock_gettime": 228,
  "clock_getres": 229,
  "clock_nanosleep": 230,
  "exit_group": 231,
  "newfstatat": 262,
  "readlinkat": 267,
  "faccessat": 269,
  "pselect6": 270,
  "ppoll": 271,
  "getrandom": 318,
  "statx": 332,
  "rseq": 334,
  "faccessat2": 439,
}
_OPENAT = 257  # allowed where its flags only read
_X86_64 = 0xC000003E  # AUDIT_ARCH_X86_64
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def split(tests: str) -> list[tuple[bool, types.CodeType]]:
  """The statements of test code in the order they run, and which are tests.

  A test is an `assert` or a call at the top level, or a function `test...`
  there that needs no arguments, called after all else. The rest prepares them.

  Raises:
    SyntaxError: it is no Python.
    ValueError: it holds a null character.
  """
  statements, functions = [], []
  for node in ast.parse(tests).body:
    called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    statements.append((called or isinstance(node, ast.Assert), node))
    if _is_test_function(node):
      functions += [(True, stmt) for stmt in ast.parse(f"{node.name}()").body]
  return [
    (is_test, compile(ast.Module([node], []), "<tests>", "exec"))
    for is_test, node in statements + functions
  ]


def _is_test_function(node: ast.stmt) -> TypeGuard[ast.FunctionDef]:
  if not isinstance(node, ast.FunctionDef) or node.name[:4] != "test":
    return False
  needed = node.args
  return (
    len(needed.posonlyargs) + len(needed.args) == len(needed.defaults)
    and None not in needed.kw_defaults
  )


def isolate() -> None:
  """Installs the filter; it holds for the rest of the process.

  Raises:
    OSError: this system has no such filter.
  """
  import ctypes

  if sys.platform != "linux" or platform.machine() != "x86_64":
    raise OSError(f"no filter for {sys.platform} on {platform.machine()}")

  class Instruction(ctypes.Structure):
    _fields_ = [
      ("code", ctypes.c_uint16),
      ("if_true", ctypes.c_uint8),
      ("if_false", ctypes.c_uint8),
      ("operand", ctypes.c_uint32),
    ]

  class Program(ctypes.Structure):
    _fields_ = [
      ("length", ctypes.c_uint16),
      ("instructions", ctypes.POINTER(Instruction)),
    ]

  load, mask, if_equal, answer = 0x20, 0x54, 0x15, 0x06
  allow, refuse, kill = 0x7FFF0000, 0x00050001, 0x80000000  # errno 1: EPERM
  filter_ = [
    (load, 0, 0, 4),  # the architecture
    (if_equal, 1, 0, _X86_64),
    (answer, 0, 0, kill),
    (load, 0, 0, 0),  # the number of the call
  ]
  for number in _ALLOWED.values():
    filter_ += [(if_equal, 0, 1, number), (answer, 0, 0, allow)]
  filter_ += [
    (if_equal, 0, 4, _OPENAT),
    (load, 0, 0, 32),  # its third argument, the flags
    (mask, 0, 0, _WRITING),
    (if_equal, 0, 1, 0),
    (answer, 0, 0, allow),
    (answer, 0, 0, refuse),
  ]
  program = Program(len(filter_), (Instruction * len(filter_))(*filter_))
  libc = ctypes.CDLL(None, use_errno=True)
  no_new_privileges, seccomp, mode_filter = 38, 22, 2
  if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(
    seccomp, mode_filter, ctypes.byref(program), 0, 0
  ):
    code = ctypes.get_errno()
    raise OSError(code, f"seccomp: {os.strerror(code)}")
  try:
    os.close(os.open("refused", os.O_WRONLY | os.O_CREAT))
  except PermissionError:
    return
  raise OSError("the filter does not hold")


def _limit(job: dict) -> None:
  import resource  # not on Windows

  limits = {
    "RLIMIT_CPU": job["cpu_seconds"],
    "RLIMIT_AS": job["memory_bytes"],
    "RLIMIT_FSIZE": 0,
    "RLIMIT_CORE": 0,
    "RLIMIT_NPROC": 0,  # does not hold for root
    "RLIMIT_NOFILE": 32,
  }
  for name, value in limits.items():
    kind = getattr(resource, name)
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
      value = min(value, hard)
    try:
      resource.setrlimit(kind, (value, value))
    except (OSError, ValueError):
      if sys.platform == "linux":
        raise
      # macOS refuses a limit of address space.


def main() -> None:
  job = json.loads(sys.stdin.buffer.read())
  secret = job["secret"]
  results, write = os.dup(1), os.write
  nowhere = os.open(os.devnull, os.O_RDWR)
  for descriptor in (0, 1, 2):
    os.dup2(nowhere, descriptor)
  os.close(nowhere)
  _limit(job)
  if job["isolate"]:
    try:
      isolate()
    except OSError as error:
      write(results, f"{secret} refused {error}\n".encode())
      return
  # Before the code can replace what reads them.
  tests = split(job["tests"])
  # Not `__main__`, whose guard would run; dataclasses look the module up.
  module = types.ModuleType("response")
  sys.modules["response"] = module
  namespace = module.__dict__
  number = 0
  try:
    exec(compile(job["code"], "<response>", "exec"), namespace)
    for is_test, test in tests:
      if not is_test:
        exec(test, namespace)
        continue
      try:
        exec(test, namespace)
      except BaseException:  # SystemExit too: a failed test
        pass
      else:
        write(results, f"{secret} {number}\n".encode())
      number += 1
  except BaseException:  # the rest of the tests failed
    pass
  os._exit(0)  # leave nothing of the response to run


if __name__ == "__main__":
  main()
