"""A license server over a workspace, in a process of its own; prints its address and a token."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from modelseal import admin
from modelseal.admin import Role
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.server.run import Running
from modelseal.server.services import LocalAdmin, limits

for name in ("NETWORK", "PUBLIC", "ACTIVATION", "KEY", "GUESSING"):
    limit = getattr(limits, name)
    setattr(limits, name, dataclasses.replace(limit, burst=10**9))


def main(home: Path) -> None:
    from modelseal.server.http import front, work

    front.PUBLIC, work.NETWORK = limits.PUBLIC, limits.NETWORK
    running = Running(
        home, listen="127.0.0.1:0", on_ready=lambda url: print(url, token, flush=True)
    )
    api = LocalAdmin(running.server)
    terms = Plan(entitlements=[PlanEntitlement(id="face.swap")])
    api.create_plan(admin.PlanDraft(name="basic", terms=terms))
    wish = admin.IssueLicense(plan="basic", customer="c", expires_in_seconds=86400)
    api.issue_license(wish)
    token = api.create_token(Role.OWNER, 86400, "schemathesis").token
    try:
        running.run()
    finally:
        running.close()


main(Path(sys.argv[1]))
