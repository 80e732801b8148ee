"""The client against the real license server: downloads, full and read-only disks, other users."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest
from tests.client.real_shop import opens
from tests.client.world import computer

from modelseal import errors
from modelseal.client import Ports
from modelseal.errors import (
    ServerUnreachable,
)


def test_a_truncated_download_resumes_and_ends_right(shop, make, tmp_path):
    from modelseal.client.transport import HttpTransport, Stream

    class Cutting(HttpTransport):
        cut = True
        ranges = []

        @contextlib.contextmanager
        def stream(self, url, *, headers=None):
            with super().stream(url, headers=headers) as whole:
                if "/blobs/" not in url:
                    yield whole
                    return
                Cutting.ranges.append((headers or {}).get("Range"))
                yield Stream(whole.status, whole.headers, self._cut(whole.chunks))

        def _cut(self, chunks):
            left = 300_000
            for chunk in chunks:
                if Cutting.cut and left <= 0:
                    raise ServerUnreachable("cut")
                left -= len(chunk)
                yield chunk

    traits = computer("cutter")
    client = make(ports=Ports(traits=lambda: traits, environ={}, transport=Cutting))
    client.activate(shop.issue()[0])
    client.pull(tmp_path / "m")
    assert (tmp_path / "m" / "swap.onnx").read_bytes() == shop.sealed["swap.onnx"].read_bytes()
    assert Cutting.ranges[0] is None
    assert len(Cutting.ranges) > 2
    assert all(r.startswith("bytes=") for r in Cutting.ranges[1:])


def test_a_full_disk_under_the_models_keeps_what_was_verified(shop, make, tiny_disk, tmp_path):
    client = make()
    client.activate(shop.issue()[0])
    with pytest.raises(errors.DiskFull) as caught:
        client.pull(tiny_disk / "m")
    assert caught.value.exit_code == 5
    assert not (tiny_disk / "m" / "swap.onnx").exists()
    assert opens(client, shop.swap)
    assert client.pull(tmp_path / "roomy").models[0].outcome == "downloaded"


def test_a_full_disk_under_the_state_leaves_the_old_lease_in_force(shop, make, tiny_disk):
    client = make(tiny_disk / "state")
    client.activate(shop.issue()[0])
    filler = tiny_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 1024)
    with pytest.raises(errors.DiskFull):
        client.renew()
    assert opens(client, shop.swap)
    filler.unlink()
    assert client.renew().state == "ACTIVE"


def test_a_full_disk_in_the_middle_of_a_pull_is_told_wherever_it_happens(shop, make, tiny_disk):
    """State, catalog and models on one small disk: each level of filling ends in our error."""
    client = make(tiny_disk / "state")
    client.activate(shop.issue()[0])
    filler = tiny_disk / "filler"
    codes = set()
    for kilobytes in range(0, 480, 24):
        with contextlib.suppress(OSError):
            filler.write_bytes(b"x" * kilobytes * 1024)
        with pytest.raises(errors.Unavailable) as caught:
            client.pull()
        codes.add(caught.value.code)
        assert client.status().state == "ACTIVE"
        assert opens(client, shop.swap)
    filler.unlink()
    assert codes == {"disk_full"}
    assert client.renew().state == "ACTIVE"


def test_a_state_folder_that_is_read_only_opens_models_and_says_so_where_it_must_write(
    shop, make, tiny_disk
):
    for plan in ("trial", "online"):
        client = make(tiny_disk / plan)
        client.activate(shop.issue(plan)[0])
        subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
        try:
            with make(tiny_disk / plan) as reader:
                assert reader.status().state == "ACTIVE"
                assert opens(reader, shop.swap)
                for act in (reader.renew, reader.deactivate, reader.pull):
                    with pytest.raises(errors.StateNotWritable) as caught:
                        act()
                    assert caught.value.next_step
                assert opens(reader, shop.swap)
        finally:
            subprocess.run(["mount", "-o", "remount,rw", str(tiny_disk)], check=True)
        assert client.renew().state == "ACTIVE"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root to drop from")
def test_activated_as_root_and_used_as_somebody_else_says_whose_it_is(shop, make, tmp_path):
    client = make()
    client.activate(shop.issue()[0])
    for place in (tmp_path, *tmp_path.parents[:2]):
        place.chmod(0o755)
    code = (
        "import os, sys\n"
        "from tests.client.world import computer\n"
        "from modelseal.client import Client, Ports\n"
        "from modelseal.errors import ModelsealError\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: Client(state=sys.argv[1], background=False, ports=Ports(environ={})).status()\n"
        "except ModelsealError as e: print(e.code, e.exit_code, e.params['owner'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "laptop")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "state_not_readable 5 root"
