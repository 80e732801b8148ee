"""What a person sees: streams, languages, narrow windows, prompts, Ctrl-C, and pipes that close."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys

import pytest
from tests.cli.world import here

WIDE = ("license", "list", "--all")


def _on(shell, name="laptop"):
    return ("--state", shell.folder / name, "--json")


# -- languages and widths


def test_a_refusal_is_told_in_the_users_language(shop, shell):
    for variable in ("LANG", "LC_ALL"):
        shell.more = {"LANG": "C.UTF-8", variable: "zh_CN.UTF-8"}
        lines = shell("lease", "renew", "--state", "laptop").told(3)
        assert lines[0] == "modelseal: 本设备尚未激活。"
        assert lines[2].startswith("  编号")
        assert lines[-1].endswith("`modelseal activate KEY`。")
        refused = shell("lease", "renew", *_on(shell)).refused("not_activated", 3)
        assert refused["message"] == "本设备尚未激活。"


def test_a_status_for_people_says_what_it_means_and_what_it_does_not_stop(shell, laptop):
    status = ("status", "--state", "laptop")
    shown = shell(*status).out.splitlines()
    assert shown[0] == "ACTIVE: the license is in force, offline too."
    assert any(line.startswith("lease") and "7 days left" in line for line in shown)
    assert any(line.startswith("limits") and "before its end" in line for line in shown)
    chinese = shell(*status, env={"LANG": "zh_CN.UTF-8"}).out.splitlines()
    assert len(chinese) == len(shown)
    assert chinese[0].startswith("ACTIVE") and not chinese[0].isascii()
    assert shell("status", "--state", "none").out.startswith("NOT_ACTIVATED: run `modelseal act")


def test_the_doctor_speaks_the_users_language(shop, shell):
    doctor = ("doctor", "--home", shop.home)
    english, chinese = shell(*doctor), shell(*doctor, env={"LANG": "zh_CN.UTF-8"})
    assert english.out.isascii() and "recovery-kit.txt is still on this disk" in english.out
    assert "recovery-kit.txt 仍在本磁盘上" in chinese.out
    assert len(chinese.out.splitlines()) == len(english.out.splitlines())


def test_a_terminal_that_cannot_write_chinese_gets_escapes_and_programs_get_json(shell):
    shell.more = {"LC_ALL": "zh_CN.UTF-8", "PYTHONIOENCODING": "ascii"}
    ran = shell("lease", "renew", "--state", "laptop")
    assert ran.code == 3 and ran.err.isascii() and "Traceback" not in ran.err
    ran = shell("lease", "renew", *_on(shell))
    assert ran.out.isascii()
    assert ran.json["message"] == "本设备尚未激活。"


def test_at_sixty_columns_a_list_becomes_blocks_and_no_id_is_cut(shop, shell):
    _, license_id = shop.issue()
    ran = shell(*WIDE, "--home", shop.home, env={"COLUMNS": "60"})
    assert f"license   {license_id}\n" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 60
    ran = shell(*WIDE, "--home", shop.home)
    assert [line for line in ran.out.splitlines() if line.startswith(license_id)]


def test_help_fits_sixty_columns(shell):
    for command in ((), ("seal",), ("license", "issue"), ("server", "token", "create")):
        ran = shell(*command, "--help", env={"COLUMNS": "60"})
        assert (ran.code, ran.err) == (0, "")
        assert max(map(len, ran.out.splitlines())) <= 60


def test_the_version_is_one_line(shell):
    ran = shell("--version")
    assert (ran.code, ran.out.split()[0], ran.err) == (0, "modelseal", "")
    assert len(ran.out.splitlines()) == 1


# -- wrong arguments


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",), ("seal",), ("activate", "a", "b"), ("license", "show"), ("license", "nope"),
        ("status", "--nope"), ("init",), ("init", "--product", "x"), ("run",), ("run", "--"),
        ("plan", "create", "x", "--seats", "many"), ("verify",), ("server", "token", "create"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_arguments_are_misuse_with_a_next_step(words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", None)
    assert "--help" in here(*words).told(2)[-1]
    if words[0] != "run":
        here(*words, "--json").refused("misuse", 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [(), ("license",), ("server", "token")], ids=" ".join)
def test_a_noun_alone_shows_its_verbs_on_stderr(words):
    ran = here(*words)
    assert (ran.code, ran.out) == (2, "")
    assert "Commands:" in ran.err


def test_what_stands_behind_the_dashes_belongs_to_the_program(shell):
    code = "import sys; print(sys.argv[1:]); sys.exit(7)"
    ran = shell("run", "--state", "laptop", "--", "python", "-c", code, "--json", "--help")
    assert (ran.code, ran.out, ran.err) == (7, "['--json', '--help']\n", "")
    ran = shell("run", "--state", "laptop", "--", "no-such-program")
    assert "no-such-program" in ran.told(2)[0]
    (shell.folder / "data").write_text("no program")
    assert "data" in shell("run", "--state", "laptop", "--", "./data").told(3)[0]


# -- streams


def test_a_pipe_that_closes_early_is_no_error(shop, shell):
    for _ in range(3):
        shop.issue()
    script = f'modelseal audit list --all --home {shop.home} | head -1; echo "${{PIPESTATUS[0]}}"'
    ran = shell("bash", "-c", script, anything=True)
    assert ran.out == "Audit log\n0\n"
    assert ran.err == ""


def test_closed_and_full_streams_do_no_harm(shop, shell):
    def script(text):
        return shell("bash", "-c", text, anything=True)

    listing = f"modelseal model list --home {shop.home}"
    assert script(f"{listing} >&-").code == 0
    assert script(f"{listing} 2>&-").code == 0
    refused = "modelseal lease renew --state laptop"
    assert script(f"{refused} 2>&-").code == 3
    assert script(f"{refused} 2>/dev/full").code == 3
    assert script(f"{refused} <&- >&- 2>&-").code == 3
    ran = script(f"{listing} --json >/dev/full")
    assert ran.code == 5
    assert ran.err.startswith("modelseal: The disk is full: standard output.")
    assert "Exception ignored" not in ran.err


def test_without_any_stream_a_refusal_still_has_its_exit_code(shell):
    """As in a windowed program, where Python has no stdout and no stderr."""
    code = (
        "import sys; sys.stdin = sys.stdout = sys.stderr = None\n"
        "from modelseal.cli import main; codes = [main(words.split()) for words in (\n"
        "'lease renew --state laptop', 'lease renew --state laptop --json', 'activate', 'nope',\n"
        "'--version', 'status --state laptop')]\n"
        "open('codes', 'w').write(repr(codes))"
    )
    ran = shell(sys.executable, "-c", code, anything=True)
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert (shell.folder / "codes").read_text() == "[3, 3, 2, 2, 0, 0]"


# -- prompts


def _at_a_terminal(shell, *words: object, answers: bytes) -> tuple[int, str]:
    """Exit code and screen of a command whose three streams are one terminal."""
    leader, follower = pty.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), follower)
    with shell.start(*words, **streams, start_new_session=True) as process:
        os.close(follower)
        screen, asked = b"", False
        while True:
            ready, _, _ = select.select([leader], [], [], 60)
            assert ready, screen
            try:
                data = os.read(leader, 65536)
            except OSError:  # the other end is closed: the command has ended
                break
            if not data:
                break
            screen += data
            if not asked and screen.rstrip().endswith(b":"):
                os.write(leader, answers)
                asked = True
    os.close(leader)
    return process.returncode, screen.decode()


def test_a_license_key_is_asked_for_and_not_echoed(shop, shell):
    key, _ = shop.issue()
    words = ("activate", *shop.names, "--state", "laptop")
    code, screen = _at_a_terminal(shell, *words, answers=f"{key}\n".encode())
    assert code == 0, screen
    assert "License key:" in screen and key not in screen


def test_ctrl_d_at_a_prompt_is_misuse(shop, shell):
    words = ("activate", *shop.names, "--state", "laptop")
    code, screen = _at_a_terminal(shell, *words, answers=b"\x04")
    assert code == 2 and "no license key was typed" in screen


def test_a_license_key_comes_from_standard_input_too(shop, shell):
    for word in (["-"], []):
        key, _ = shop.issue()
        words = ("activate", *word, *shop.names, "--state", f"s{len(word)}", "--json")
        assert shell(*words, typed=f"{key}\r\n").json["state"] == "ACTIVE"
    shell(*words, typed="").refused("misuse", 2)


def test_an_agreement_is_accepted_by_word_where_the_app_ships_none(shop, shell):
    """``--eula accept`` takes the plan's own agreement, and says which it was."""
    (shell.folder / "terms.json").write_text(
        json.dumps(
            {
                "entitlements": [{"id": "face.swap"}],
                "eula": {"digest": "e" * 43, "uri": "https://example.com/eula"},
            }
        )
    )
    shop.do("plan", "create", "eula", "--terms", shell.folder / "terms.json")
    key, _ = shop.issue("eula")
    entering = ("activate", key, *shop.names, "--state", shell.folder / "laptop")
    lines = here(*entering).told(3)
    assert "https://example.com/eula" in lines[1] and "--eula accept" in lines[-1]
    accepted = here(*entering, "--eula", "accept")
    assert accepted.code == 0, accepted
    assert "https://example.com/eula" in accepted.err
    plain, _ = shop.issue()
    other = ("--eula", "accept", "--state", shell.folder / "other")
    assert here("activate", plain, *shop.names, *other).code == 0


def test_the_environment_stands_for_options(shop, shell):
    key, _ = shop.issue()
    shell.more = {
        "MODELSEAL_STATE": "here", "MODELSEAL_SERVER": shop.url, "NO_COLOR": "1",
        "MODELSEAL_TRUST": str(shop.trust), "MODELSEAL_HOME": str(shop.home),
    }  # fmt: skip
    assert shell("activate", key, "--json").json["state"] == "ACTIVE"
    assert shell("status", "--json").json["state"] == "ACTIVE"
    assert shell("model", "list", "--json").code == 0
    assert (shell.folder / "here" / "lease.jwt").is_file()


def test_an_app_is_found_from_any_folder_below_it(shop, shell):
    (shell.folder / "modelseal.toml").write_text(
        f'product = "facefusion"\nserver = "{shop.url}"\ntrust = "trust.json"\n'
    )
    (shell.folder / "trust.json").write_bytes(shop.trust.read_bytes())
    (shell.folder / "deep").mkdir()
    shell.more["XDG_DATA_HOME"] = str(shell.folder / "data")
    key, _ = shop.issue()
    assert shell("activate", key, "--json").code == 0
    shell.folder = shell.folder / "deep"
    assert shell("status", "--json").json["state"] == "ACTIVE"


# -- interruption


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interrupted_sealing_leaves_nothing(shop, shell, number, code):
    """The signal comes while 16 GiB are sealed; the half-written file goes with it."""
    if signal.getsignal(number) is signal.SIG_IGN:  # under nohup, which children inherit
        signal.signal(number, signal.SIG_DFL)
    big = shell.folder / "big.bin"
    with big.open("wb") as file:
        file.truncate(1 << 34)  # a hole, and no time to seal it all
    words = ("seal", "big.bin", "-o", "out/big.sealed", "--entitlement", "a", "--home", shop.home)
    out = shell.folder / "out"
    out.mkdir()
    with shell.start(*words) as process:
        while not list(out.iterdir()):
            assert process.poll() is None
        process.send_signal(number)
        _, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert list(out.iterdir()) == []
    big.unlink()
    small = ("seal", "terms", "-o", "out/small.sealed", "--entitlement", "a", "--home", shop.home)
    (shell.folder / "terms").write_text("x")
    assert shell(*small).code == 0


def test_a_file_nobody_could_discard_any_more_is_gone_at_the_end_of_the_process(shell):
    """A signal may come between the moment it appears and the moment its owner guards it."""
    code = (
        "from pathlib import Path; from modelseal.desk.output import PendingFile\n"
        "file = PendingFile(Path('out')); print(len(list(Path().iterdir()))); raise SystemExit(143)"
    )
    ran = shell(sys.executable, "-c", code, anything=True)
    assert (ran.code, ran.out) == (143, "1\n")
    assert list(shell.folder.iterdir()) == []


def test_under_nohup_a_hangup_is_nothing(shell):
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "import os, sys; os.execvp('modelseal', ['modelseal', 'run', '--', *sys.argv[1:]])"
    )
    prints = "import signal; print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)"
    ran = shell(sys.executable, "-c", code, "python", "-c", prints, anything=True)
    assert (ran.code, ran.out) == (0, "True\n")


def test_an_interrupted_wait_for_a_server_leaves_a_usable_state(shop, shell, laptop):
    """A server that accepts and says nothing: Ctrl-C, and the next renewal works."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with shell.start("lease", "renew", "--server", url, "--state", "laptop") as process:
            connection, _ = silent.accept()
            with connection:
                connection.recv(1)
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (130, "")
    assert err.strip() == "modelseal: interrupted."
    assert shell("lease", "renew", "--state", "laptop", "--json").json["state"] == "ACTIVE"


def test_programs_read_one_object_of_a_refused_command_even_under_a_terminal(shop, shell):
    leader, follower = pty.openpty()
    done = subprocess.run(
        ["modelseal", "pull", "--state", "laptop", "--json"],
        cwd=shell.folder, env=shell.env, stdin=follower, stderr=follower,
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(follower)
    os.close(leader)
    assert done.returncode == 3
    assert json.loads(done.stdout)["code"] == "not_activated"
