"""Clocks and namespaces that lie, by the tools people use for it: libfaketime, time and network
namespaces. Nothing opens longer, and nobody is locked out once the clock is right again."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from tests.cli.world import OPENS, Shell


def under(shell, *prefix, server: bool = True):
    """Loads the pulled model in a program started by ``prefix``; the finished run."""
    (shell.folder / "app.py").write_text(OPENS)
    more = () if server else ("unshare", "--net", "--map-root-user")
    return shell(
        *more, *prefix, "modelseal", "run", "--state", "laptop", "--",
        "python", "app.py", "models/swap.onnx", anything=True,
    )  # fmt: skip


def faketime(offset: str) -> tuple[str, ...]:
    if shutil.which("faketime") is None:
        pytest.skip("needs libfaketime: apt-get install faketime")
    return ("faketime", "-f", offset)


def namespaces(*names: str) -> None:
    tried = subprocess.run(["unshare", *names, "--map-root-user", "true"], capture_output=True)
    if tried.returncode != 0:
        if os.environ.get("CI"):
            pytest.fail(f"unshare: {tried.stderr!r}")
        pytest.skip("needs user namespaces: sysctl -w kernel.unprivileged_userns_clone=1")


@pytest.fixture(scope="module")
def shell(shop, tmp_path_factory):
    """A laptop with its model, which opens; every test leaves it so."""
    found = Shell(tmp_path_factory.mktemp("tricks"))
    key, _ = shop.issue()
    assert found("activate", key, *shop.names, "--state", "laptop").code == 0
    assert found("pull", "--state", "laptop", "--to", "models").code == 0
    ran = under(found)
    assert ran.code == 0 and "opened" in ran.out, ran
    return found


def code_of(ran) -> str:
    """The refusal in the summary that a run prints at its end."""
    assert ran.code != 0 and "opened" not in ran.out, ran
    return ran.err


@pytest.mark.parametrize("server", [True, False])
def test_a_program_in_the_future_opens_nothing_and_a_clock_put_right_heals_it(shell, server):
    """Also where it could not ask: the keys may be gone then, and one renewal brings them back."""
    namespaces("--net")
    told = code_of(under(shell, *faketime("+9d"), server=server))
    assert "expired" in told or "clock" in told
    assert under(shell).code == 0


def test_a_clock_set_back_refuses_and_says_so_and_recovers_by_itself(shell):
    namespaces("--net")
    assert "clock" in code_of(under(shell, *faketime("-2d"), server=False))
    assert under(shell).code == 0


def test_a_clock_within_five_minutes_is_a_clock_like_any_other(shell):
    namespaces("--net")
    for offset in ("-4m", "+4m"):
        assert under(shell, *faketime(offset), server=False).code == 0


def test_standing_still_at_the_end_of_a_lease_is_no_way_to_keep_it(shell):
    """A frozen clock that starts a day before the end, again and again, never passes it; what the
    lease grants then is still what it granted: its end is not moved by it."""
    namespaces("--net")
    before = shell("status", "--state", "laptop", "--json").json["lease"]["expires_at"]
    for _ in range(2):
        assert under(shell, *faketime("+6d"), server=False).code == 0
    assert shell("status", "--state", "laptop", "--json").json["lease"]["expires_at"] == before


def test_a_time_namespace_does_not_move_the_end_of_a_lease(shell):
    """It moves the monotonic clocks only; the lease ends when it ends."""
    namespaces("--time")
    prefix = ("unshare", "--time", "--boottime", "8640000", "--monotonic", "8640000",
              "--map-root-user", "--fork")  # fmt: skip
    assert under(shell, *prefix).code == 0
    assert code_of(under(shell, *prefix, *faketime("+9d")))
    assert under(shell).code == 0


def test_without_a_network_a_lease_that_runs_opens(shell):
    namespaces("--net")
    assert under(shell, server=False).code == 0
    ran = shell("unshare", "--net", "--map-root-user", "modelseal", "lease", "renew",
                "--state", "laptop", "--json", anything=True)  # fmt: skip
    ran.refused("server_unreachable", 5)
