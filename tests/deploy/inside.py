"""Run in place of the server, in its unit: what this process may, as one JSON object."""

import contextlib
import ctypes
import errno
import json
import mmap
import os
import resource
import socket
from pathlib import Path

from modelseal.memory import SecretBytes

CALLS = {  # x86-64
    "ptrace": (101, 0, 0, 0, 0), "bpf": (321, 0, 0, 0), "unshare": (272, 0x10000000),
    "mount": (165, b"none", b"/tmp", b"tmpfs", 0, 0), "keyctl": (250, 0, -3, 0, 0, 0),
    "io_uring_setup": (425, 1, 0), "process_vm_readv": (310, os.getpid(), 0, 0, 0, 0, 0),
    "userfaultfd": (323, 1), "chown": (92, b"/tmp", 0, 0), "setuid": (105, 0),
    "personality": (135, 0x40000), "perf_event_open": (298, 0, 0, 0, 0, 0),
}  # fmt: skip
PLACES = ("/etc", "/opt/modelseal", "/usr", "/var", "/var/log", "/var/lib", "/root", "/home",
          "/run", "/dev/shm", "/sys", "/var/lib/modelseal")  # fmt: skip
FAMILIES = ("AF_INET", "AF_INET6", "AF_UNIX", "AF_PACKET", "AF_NETLINK", "AF_ALG", "AF_VSOCK")


def called(libc: ctypes.CDLL, number: int, *arguments: object) -> str:
    ctypes.set_errno(0)
    if libc.syscall(number, *arguments) >= 0:
        return "done"
    return errno.errorcode.get(ctypes.get_errno(), "?")


def is_writable(place: str) -> bool:
    probe = Path(place, "modelseal-probe")
    with contextlib.suppress(OSError):
        probe.write_bytes(b"")
        probe.unlink()
        return True
    return False


def is_runnable(place: str) -> bool:
    program = Path(place, "modelseal-program")
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o700)
    try:
        return os.spawnv(os.P_WAIT, program, [str(program)]) == 0
    finally:
        program.unlink()


def is_open(family: str) -> bool:
    kind = socket.SOCK_SEQPACKET if family == "AF_ALG" else socket.SOCK_STREAM
    kind = socket.SOCK_DGRAM if family in ("AF_PACKET", "AF_NETLINK") else kind
    try:
        socket.socket(getattr(socket, family), kind).close()
    except OSError:
        return False
    return True


def is_code_made() -> bool:
    try:
        mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    except OSError:
        return False
    return True


def main() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    secret = SecretBytes(bytes(32))
    found = {
        "calls": {name: called(libc, *call) for name, call in CALLS.items()},
        "writable": [place for place in PLACES if is_writable(place)],
        "runnable": [p for p in ("/var/lib/modelseal", "/tmp", "/var/tmp") if is_runnable(p)],
        "families": [family for family in FAMILIES if is_open(family)],
        "code_made": is_code_made(),
        "capabilities": [status[f"Cap{each}"].strip() for each in ("Prm", "Eff", "Bnd", "Amb")],
        "no_new_privileges": status["NoNewPrivs"].strip(),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "secret": [str(secret.reached), secret.swap_safe],
        "processes": [name for name in os.listdir("/proc") if name.isdecimal()],
        "disks": [name for name in os.listdir("/dev") if name[:2] in ("sd", "vd", "nv", "me")],
    }
    print(json.dumps(found))


main()
