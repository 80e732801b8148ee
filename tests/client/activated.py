"""What most tests of the client start from: one published model and its keys."""

from __future__ import annotations

import contextlib

from tests.client.world import seal

MODEL = seal()
DAY = 86400


def keys_of(client, model=MODEL):
    with contextlib.ExitStack() as stack:
        found = client.keys_for(model.file_id, sorted(model.keys))
        for secret in found.values():
            stack.enter_context(secret)
        return {n: secret.reveal() for n, secret in found.items()}
