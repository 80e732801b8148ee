#!/usr/bin/python3 -IB
"""The guest's only program, its process 1: it runs ``modelseal`` commands that the host names.

The host names them over a connection on the serial line; what it asks for is not trusted with
anything here: keys come from the license server, for what the TPM proves.
"""

import base64
import contextlib
import ctypes
import fcntl
import io
import json
import os
import queue
import signal
import socket
import struct
import sys
import threading
import tty

CONTROL = 7001
LIBC = ctypes.CDLL(None, use_errno=True)
POWER_OFF = 0x4321FEDC


def mount(kind: str, where: str) -> None:
    os.makedirs(where, exist_ok=True)
    LIBC.mount(kind.encode(), where.encode(), kind.encode(), 0, None)


def loopback() -> None:
    """The guest's own loopback; there is no other network."""
    with socket.socket() as any_socket:
        up = struct.pack("16sh14x", b"lo", 1)
        fcntl.ioctl(any_socket, 0x8914, up)


def serve_control(commands: queue.Queue) -> None:
    listener = socket.create_server(("127.0.0.1", CONTROL))

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as file:
            for line in file:
                asked = json.loads(line)
                if asked.get("stop"):
                    os.kill(os.getpid(), signal.SIGTERM)
                    told = {}
                else:
                    done: queue.Queue = queue.Queue()
                    commands.put((asked, done))
                    told = done.get()
                file.write(json.dumps(told).encode() + b"\n")
                file.flush()

    threading.Thread(target=accept, daemon=True).start()


def act(asked: dict, line) -> dict:
    if "listen" in asked:
        return {"port": line.listen(asked["listen"], asked["listen"])}
    if "read" in asked:
        with open(asked["read"], "rb") as file:
            return {"data": base64.b64encode(file.read()).decode()}
    if "write" in asked:
        with open(asked["write"], "wb") as file:
            file.write(base64.b64decode(asked["data"]))
        return {}
    from modelseal.cli import main

    out, err = io.StringIO(), Tee()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(asked["argv"])
        except SystemExit as stop:
            code = stop.code
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


class Tee(io.StringIO):
    """What is said, kept and shown on the console."""

    def write(self, text: str) -> int:
        os.write(1, text.encode("utf-8", "replace"))
        return super().write(text)


def run() -> None:
    for kind, where in (
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("securityfs", "/sys/kernel/security"),
    ):
        mount(kind, where)
    console = os.open("/dev/ttyS0", os.O_RDWR)
    for number in range(3):
        os.dup2(console, number)
    os.environ.update(HOME="/root", PATH="/usr/bin", LANG="C.UTF-8")
    loopback()
    from vm_line import HELLO, Line

    port = os.open("/dev/ttyS1", os.O_RDWR | os.O_NOCTTY)
    tty.setraw(port)

    def write(data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(port, rest) :]

    line = Line(lambda n: os.read(port, n), write, 0)
    commands: queue.Queue = queue.Queue()
    serve_control(commands)
    line.allow(CONTROL, CONTROL)
    line.allow(8444, 8444)
    write(HELLO)
    line.start()
    while True:
        asked, done = commands.get()
        if asked.get("halt"):
            done.put({})
            return
        try:
            done.put(act(asked, line))
        except BaseException as error:
            done.put({"code": -1, "out": "", "err": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    try:
        run()
    except BaseException as error:
        sys.stderr.write(f"guest: {type(error).__name__}: {error}\n")
    LIBC.sync()
    LIBC.reboot(POWER_OFF)
