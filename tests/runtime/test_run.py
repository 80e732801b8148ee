"""``run``: the program's own exit code, signals, streams; a summary; nothing left behind."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelseal.errors import (
    AccessDenied,
    ConfigInvalid,
    InputMissing,
    Misuse,
    NotActivated,
    NotSealed,
    StateDamaged,
    TrustMalformed,
)
from modelseal.runtime import reach, report, summary
from modelseal.runtime import run as runner
from modelseal.runtime.report import RUN_REPORT

ROOT = Path(__file__).resolve().parent.parent.parent
CODE = "import sys; from modelseal.runtime.run import run; sys.exit(run(sys.argv[1:]))"


def started(*child: str, **how: object) -> subprocess.Popen[bytes]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", CODE, *child], **{**pipes, **how})


def finished(*child: str, stdin: bytes = b"", **how: object) -> tuple[int, bytes, bytes]:
    with started(*child, **how) as process:
        out, err = process.communicate(stdin, timeout=300)
        return process.returncode, out, err


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", code


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_exit_code_is_the_programs_own(code: int) -> None:
    assert finished(*python(f"raise SystemExit({code})")) == (code, b"", b"")


def test_a_program_ended_by_a_signal_gives_128_plus_its_number() -> None:
    code, _, _ = finished(*python("import os; os.kill(os.getpid(), 9)"))
    assert code == 128 + 9
    code, _, _ = finished(*python("import os; os.abort()"))
    assert code == 128 + signal.SIGABRT


def test_streams_pass_through_as_bytes() -> None:
    echo = "import sys; d = sys.stdin.buffer.read(); sys.stdout.buffer.write(d[::-1])"
    assert finished(*python(echo), stdin=b"\x00\xff\n123") == (0, b"321\n\xff\x00", b"")


SIGNALS = """
import signal, sys, time
def told(number, frame):
    seen.append(number)
    print("got", number, flush=True)
    if number == signal.SIGTERM:
        sys.exit(len(seen))
seen = []
for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"):
    signal.signal(getattr(signal, name), told)
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""


def test_signals_reach_the_program_once_each() -> None:
    with started(*python(SIGNALS)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        for name in ("SIGUSR1", "SIGHUP", "SIGINT", "SIGUSR2", "SIGTERM"):
            process.send_signal(getattr(signal, name))
            assert process.stdout.readline() == b"got %d\n" % getattr(signal, name)
        assert process.wait(60) == 5


def test_an_interrupt_typed_in_a_terminal_reaches_the_program_once() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-c", CODE, *python(SIGNALS)])
    said = b""
    while b"ready" not in said:
        said += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    while b"got 2" not in said:
        said += os.read(terminal, 1000)
    time.sleep(0.3)
    os.kill(pid, signal.SIGTERM)
    while b"got 15" not in said:
        said += os.read(terminal, 1000)
    assert said.count(b"got 2\r\n") == 1
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 2
    os.close(terminal)


def test_the_program_starts_with_the_signal_mask_and_handlers_it_would_have() -> None:
    code = (
        "import signal\nprint(signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
        "print([s for s in signal.valid_signals() if signal.getsignal(s) == signal.SIG_IGN])"
    )
    plain = subprocess.run(python(code), capture_output=True, timeout=300)
    assert finished(*python(code)) == (0, plain.stdout, b"")


def test_shell_scripts_and_programs_on_the_path_run(tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text('#!/bin/sh\necho "$1" $PYTHONPATH\nexit 3\n')
    script.chmod(0o755)
    code, out, _ = finished(str(script), "a b")
    assert code == 3 and out.startswith(b"a b ") and str(runner.site_folder()).encode() in out
    bare = tmp_path / "bare.sh"
    bare.write_text("exit 4\n")
    bare.chmod(0o755)
    assert finished(str(bare))[0] == 4
    assert finished("sh", "-c", "exit 5")[0] == 5


def test_the_app_is_found_beside_the_program_else_in_this_folder_or_a_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, inside = tmp_path / "app", tmp_path / "app" / "sub" / "folder"
    beside = tmp_path / "beside"
    for folder in (inside, beside):
        folder.mkdir(parents=True)
    for folder in (app, beside):
        (folder / "modelseal.toml").write_text('product = "p"\n')
    (beside / "tool.py").write_text("")
    show = python("import os; print(os.environ.get('MODELSEAL_RUN_APP'))")
    for here in (app, inside):
        assert finished(*show, cwd=here)[1].decode().strip() == str(app / "modelseal.toml")
    monkeypatch.chdir(app)
    found = runner._config_of([sys.executable, str(beside / "tool.py")])
    assert found == str(beside / "modelseal.toml")
    assert runner._config_of([sys.executable, "-m", "tool"]) == str(app / "modelseal.toml")
    monkeypatch.chdir(tmp_path)
    assert runner._config_of([sys.executable, "-m", "tool"]) is None


def test_a_program_that_cannot_be_run_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(Misuse):
        runner.run([])
    with pytest.raises(InputMissing):
        runner.run(["no-such-program-anywhere"])
    with pytest.raises(InputMissing):
        runner.run([str(tmp_path / "none")])
    (tmp_path / "data").write_text("x")
    with pytest.raises(AccessDenied):
        runner.run([str(tmp_path / "data")])
    with pytest.raises(Misuse):
        runner.run([sys.executable, "a\0b"])


def test_state_and_app_travel_as_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    env = runner.environment({"PYTHONPATH": "x", "A": "b"}, state="laptop", app="here")
    assert env["MODELSEAL_STATE"] == str(tmp_path / "laptop")
    assert env["MODELSEAL_APP"] == str(tmp_path / "here")
    assert (
        env["PYTHONPATH"] == os.pathsep.join([str(runner.site_folder()), "x"]) and env["A"] == "b"
    )
    assert runner.environment(env)["PYTHONPATH"] == env["PYTHONPATH"]


def test_a_python_that_ignores_the_hook_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["-I"], ["-X", "dev", "-sE"], ["-S"]):
        reach.warn(["/usr/bin/python3.12", *options, "app.py"])
        assert "modelseal.install()" in capsys.readouterr().err
    for argv in (["python", "-c", "I"], ["python", "app.py", "-I"], ["ls", "-I"], ["python", "-u"]):
        reach.warn(argv)
        assert capsys.readouterr().err == ""


def test_a_hook_that_does_not_find_modelseal_stays_out_of_the_way(tmp_path: Path) -> None:
    """As in an interpreter of another environment: silent there, one line at the end."""
    other = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(other)], check=True)
    code, out, err = finished(str(other / "bin" / "python"), "-c", "print(1)")
    assert (code, out) == (0, b"1\n")
    assert b"has no modelseal" in err and b"hook_absent" in err


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    assert finished(*python("import os; os._exit(0)"), env=env)[0] == 0
    assert os.listdir(tmp_path) == []


def test_a_run_that_is_killed_leaves_nothing_and_its_program_goes_on(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    told = tmp_path / "told"
    told.mkdir()
    code = (
        "import os, time, sys; print('ready', flush=True); time.sleep(1)\n"
        "from modelseal.errors import NotSealed\nfrom modelseal.runtime import report\n"
        f"report.to_run_report(NotSealed('x'), 'y'); open({str(told / 'done')!r}, 'w').close()"
    )
    with started(*python(code), env=env) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        process.kill()
    until = time.monotonic() + 30
    while not (told / "done").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert (told / "done").exists()
    assert os.listdir(tmp_path) == ["told"]


def test_where_no_file_lies_in_memory_the_next_run_removes_what_a_killed_one_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / f"modelseal-run-{gone.pid}-x").touch()
    (tmp_path / f"modelseal-run-{os.getpid()}-y").touch()
    with summary.report_file() as place:
        assert place is not None and Path(place).parent == tmp_path
        assert len(os.listdir(tmp_path)) == 2
    assert os.listdir(tmp_path) == [f"modelseal-run-{os.getpid()}-y"]


def test_a_report_of_a_run_that_is_gone_is_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number may be another process's by now, and its descriptor any file of that."""
    with (tmp_path / "other").open("w") as other:
        monkeypatch.setenv(RUN_REPORT, f"/proc/{os.getpid()}/fd/{other.fileno()}")
        report.append({"code": "x"})
    assert (tmp_path / "other").read_bytes() == b""


def test_what_is_wrong_with_the_activation_or_a_setting_is_not_said_to_lie_in_the_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report.forget()
    for error in (
        NotActivated("no"),
        ConfigInvalid("no"),
        StateDamaged("no"),
        TrustMalformed("no"),
    ):
        report.tell(error, "/app/models/swap.onnx")
    assert "swap.onnx" not in capsys.readouterr().err
    report.tell(NotSealed("no"), "/app/models/swap.onnx")
    assert "swap.onnx" in capsys.readouterr().err


def test_run_works_without_stderr(tmp_path: Path) -> None:
    code = "import sys; sys.stderr = None; " + CODE
    command = [sys.executable, "-c", code, str(sys.executable), "-I", "-c", "raise SystemExit(6)"]
    assert subprocess.run(command, timeout=300, check=False).returncode == 6
