"""What the worker process gives up before it looks at a hostile file, and cannot get back.

    confine(Powers(may_read=("/models",)), code_folders=[...])      # in the child, once, before anything is decoded
    in_force()                                                       # {"seccomp": "on", "landlock": "ABI 7", ...}

On Linux: no new privileges, and of those that root has only the one to open what others own; no network, no other
programs, no looking into other processes or signalling them, no change of anybody's rights or limits (seccomp, through
libseccomp); no file but the interpreter's own code and what is named (Landlock, landlock(7)). The one file of a job
comes as an open descriptor (`_grants`), so no rule for it is needed and no name is ever opened. Everywhere: limits on
memory and files. Whatever a system lacks is left out, and `telltale doctor` says so.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from telltale._wire import Message

_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITIES_V3, _CAP_DAC_OVERRIDE = 0x20080522, 1 << 1
_OFF = "not on this system"

# Landlock system calls have the same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION, _PATH_BENEATH = 1, 1
_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE, _MAKE_REG, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 5, 1 << 8, 1 << 14
_RIGHTS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All that can be denied about files since that version of the interface."""
_NET_RIGHTS, _SCOPES = 0b11, 0b11
"""TCP since version 4; abstract sockets and signals since 6."""

_SYSTEM_FOLDERS = ("/usr", "/lib", "/lib64", "/opt/conda", "/nix/store", "/proc", "/sys/devices/system")
_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/dev/urandom", "/etc/ssl/openssl.cnf")

_DENIED_CALLS = (
    *("socket", "connect", "bind", "listen", "accept", "accept4"),
    *("execve", "execveat", "fork", "vfork"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd"),
    *("io_uring_setup", "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key"),
    *("mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "open_by_handle_at", "open_tree", "move_mount"),
    *("init_module", "finit_module", "delete_module", "kexec_load", "reboot", "swapon", "swapoff", "acct"),
    # Landlock knows nothing of owners, rights, times and attributes of files.
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "file_setattr"),
    *("utime", "utimes", "utimensat", "futimesat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat"),
    *("removexattr", "lremovexattr", "fremovexattr", "removexattrat"),
    *("pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "process_madvise", "process_mrelease"),
    *("setpriority", "ioprio_set", "migrate_pages", "move_pages", "sethostname", "setdomainname"),
    *("settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "quotactl", "syslog"),
    *("shmget", "shmat", "msgget", "semget", "mq_open"),
)
_NEW_CALLS = {"fchmodat2": 452, "setxattrat": 463, "removexattrat": 466, "file_setattr": 469}
"""Numbers, the same on every architecture, of those that a libseccomp may be too old to know."""
_TO_ITSELF = ("kill", "tgkill", "tkill")
"""Signals: abort(3) sends one to its own process."""
_TO_THIS_THREAD = ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr")
"""Written as 0."""
_ALLOW, _REFUSE, _DENY_KNOWING_IT = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
"""Actions of libseccomp: let through; answer EPERM, so that code which copes with a missing network copes; answer
ENOSYS, so that a C library tries the older call."""
_CLONE_THREAD, _MASKED_EQUAL, _NOT_EQUAL = 0x10000, 7, 1

_state: dict[str, str] = {}


@dataclass(frozen=True)
class Powers:
    """What a worker keeps beside reading the interpreter's code and the file it is handed."""

    may_read: tuple[str, ...] = ()
    """Files, or folders with all below them."""
    may_write: tuple[str, ...] = ()
    """The same, for reading and writing."""


def confine(powers: Powers, *, code_folders: Iterable[str]) -> None:
    """Give up everything that decoding does not need. Call before the first thread starts: they inherit it."""
    _limit_files(may_write=bool(powers.may_write))
    if sys.platform != "linux":
        _state.update(no_new_privileges=_OFF, capabilities=_OFF, seccomp=_OFF, landlock=_OFF)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    unprivileged = libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    _state["no_new_privileges"] = "on" if unprivileged else _OFF
    _state["capabilities"] = _drop_capabilities(libc)
    _state["landlock"] = _landlock(libc, powers, code_folders) if unprivileged else _OFF
    _state["seccomp"] = _seccomp() if unprivileged else _OFF


def in_force() -> dict[str, str]:
    """What was given up in this process: feature -> "on", a version, or why not."""
    return dict(_state)


def confined_job(_args: dict[str, Any]) -> Iterator[Message]:
    """The worker's answer to `telltale doctor`."""
    yield Message("confined", in_force())


def _limit_files(*, may_write: bool) -> None:
    try:
        import resource
    except ImportError:  # Windows
        _state["resource_limits"] = _OFF
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 256 if most == resource.RLIM_INFINITY else min(256, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if not may_write:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    _state["resource_limits"] = "on"


def _drop_capabilities(libc: ctypes.CDLL) -> str:
    """Root may look into every process (capabilities(7)); Landlock does not hold CAP_PERFMON back from environments."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0)
    has = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, the lower 32 of each first
    if libc.capget(header, has) != 0:
        return f"refused ({os.strerror(ctypes.get_errno())})"
    kept = has[1] & _CAP_DAC_OVERRIDE
    if libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)) != 0:
        return f"refused ({os.strerror(ctypes.get_errno())})"
    return "on"


class _RulesetAttr(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Comparison(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def _landlock(libc: ctypes.CDLL, powers: Powers, code_folders: Iterable[str]) -> str:
    abi = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
    if abi < 1:
        number = ctypes.get_errno()
        # A kernel without it answers otherwise (landlock_create_ruleset(2)).
        return f"{'refused' if number == errno.EPERM else 'not on this kernel'} ({os.strerror(number)})"
    handled = _RIGHTS_BY_ABI[max(known for known in _RIGHTS_BY_ABI if known <= abi)]
    attr = _RulesetAttr(handled, _NET_RIGHTS if abi >= 4 else 0, _SCOPES if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(attr), ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        return f"refused ({os.strerror(ctypes.get_errno())})"
    try:
        reading, writing = _READ_FILE | _READ_DIR, _WRITE_FILE | _REMOVE_FILE | _MAKE_REG | _TRUNCATE
        for path in (*code_folders, *_SYSTEM_FOLDERS, *_SYSTEM_FILES):
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):  # nobody could import from there
                _allow(libc, ruleset, path, reading & handled)
        rules = [(path, reading) for path in powers.may_read]
        rules += [(path, reading | writing) for path in (*powers.may_write, os.devnull)]
        for path, rights in rules:
            with suppress(FileNotFoundError, NotADirectoryError):
                _allow(libc, ruleset, path, rights & handled)
        if libc.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)) != 0:
            return f"refused ({os.strerror(ctypes.get_errno())})"
    finally:
        os.close(ruleset)
    return f"version {abi}"


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not Path(path).is_dir():  # a file knows fewer rights
            rights &= _WRITE_FILE | _READ_FILE | _TRUNCATE
        attr = _PathBeneathAttr(rights, fd)
        if libc.syscall(_ADD_RULE, ruleset, ctypes.c_int(_PATH_BENEATH), ctypes.byref(attr), ctypes.c_uint32(0)) != 0:
            raise OSError(ctypes.get_errno(), f"Landlock takes no rule for {path}")
    finally:
        os.close(fd)


def _seccomp() -> str:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return "libseccomp is not installed"
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ALLOW)))
    if not context:
        return "libseccomp makes no filter"
    try:
        for name in _DENIED_CALLS:
            _deny(library, context, name)
        for names, itself in ((_TO_ITSELF, os.getpid()), (_TO_THIS_THREAD, 0)):
            for name in names:
                _deny(library, context, name, comparison=_Comparison(0, _NOT_EQUAL, itself, 0))
        # Threads are made by the same call as processes: clone3 hides its flags in memory, clone does not.
        _deny(library, context, "clone3", action=_DENY_KNOWING_IT)
        _deny(library, context, "clone", comparison=_Comparison(0, _MASKED_EQUAL, _CLONE_THREAD, 0))
        refused = library.seccomp_load(context)
    finally:
        library.seccomp_release(context)
    return "on" if refused == 0 else f"refused ({os.strerror(abs(refused))})"


def _deny(
    library: ctypes.CDLL,
    context: ctypes.c_void_p,
    name: str,
    *,
    action: int = _REFUSE,
    comparison: _Comparison | None = None,
) -> None:
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number == -1:  # not known to this libseccomp, or not on this architecture
        if name not in _NEW_CALLS:
            return
        number = _NEW_CALLS[name]
    n_compared = ctypes.c_uint(0 if comparison is None else 1)
    compared = None if comparison is None else ctypes.byref(comparison)
    library.seccomp_rule_add_array(context, ctypes.c_uint32(action), ctypes.c_int(number), n_compared, compared)
