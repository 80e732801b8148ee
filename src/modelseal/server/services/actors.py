"""Who acts, and what a role may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from modelseal.admin import Role
from modelseal.errors import AccessDenied


class Right(StrEnum):
    """What an admin call needs."""

    READ = "read"
    LICENSES = "licenses"
    DEVICES = "devices"
    PLANS = "plans"
    MODELS = "models"
    CUSTOMERS = "customers"
    TRUST = "trust"
    TOKENS = "tokens"
    WEBHOOKS = "webhooks"
    RELAYS = "relays"


RIGHTS: dict[Role, frozenset[Right]] = {
    Role.OWNER: frozenset(Right),
    Role.SUPPORT: frozenset({Right.READ, Right.LICENSES, Right.DEVICES}),
    Role.AUDITOR: frozenset({Right.READ}),
    Role.AUTOMATION: frozenset({Right.READ, Right.LICENSES, Right.MODELS}),
    Role.RELAY: frozenset({Right.RELAYS}),
}
"""The whole table of roles; ``docs/spec/protocol.md`` prints it."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody on the publisher's side: the host's owner, or an admin token."""

    name: str
    role: Role

    def need(self, right: Right) -> None:
        """Returns when the role has ``right``; ``AccessDenied`` otherwise."""
        if right not in RIGHTS[self.role]:
            raise AccessDenied(f"the role {self.role} may not do this", role=str(self.role))


LOCAL = Actor("host", Role.OWNER)
"""Whoever can open the workspace on the host."""
