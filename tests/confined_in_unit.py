"""What a worker gives up, as JSON (`_confine.in_force`), in a process that may make only the system calls whose names
come on standard input; any, where none comes. Run by test_web_deploy; the filter is put up as systemd does it.
"""

from __future__ import annotations

import ctypes
import errno
import json
import sys

from telltale.sandbox import Worker

ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
NEW = {"landlock_create_ruleset": 444, "landlock_add_rule": 445, "landlock_restrict_self": 446}
"""Numbers that a libseccomp may be too old to know."""


def let_through_only(names: list[str]) -> None:
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(REFUSE)))
    for name in names:
        number = NEW.get(name) or library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            rule = (ctypes.c_uint32(ALLOW), ctypes.c_int(number), ctypes.c_uint(0), None)
            library.seccomp_rule_add_array(context, *rule)
    refused = library.seccomp_load(context)
    assert refused == 0, f"the filter is refused: {refused}"


if __name__ == "__main__":
    if calls := sys.stdin.read().split():
        let_through_only(calls)  # before there is a second thread: only those that come after are held to it
    with Worker() as worker:
        (message,) = worker.run("confined", {}, deadline_s=60)
    sys.stdout.write(json.dumps(message.data))
