"""One law, two courts: what the server knows from its store and a device from its tokens is judged
alike, on a thousand questions drawn at random.

The server's facts come from the rows of real activations, the device's from the tokens that were
signed over them; neither side sees the other's.
"""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta

from tests.server.world import START, Computer, Shop

from modelseal.admin import IssueLicense, PlanDraft
from modelseal.client.core import Held
from modelseal.client.standing import Standing
from modelseal.license import lease as leases
from modelseal.license.decide import decide
from modelseal.license.facts import Action, Facts, SectionFacts
from modelseal.license.plans import LeaseTerms, Plan, PlanEntitlement
from modelseal.license.status import Status
from modelseal.server.services import acting, judging, releasing
from modelseal.types import from_numeric, to_numeric

QUESTIONS = 1000
NAMES = ("a", "b", "c")
DAY = 86400


def activated(shop: Shop, drawn: random.Random, number: int) -> Computer:
    """A device under a plan and a license drawn at random."""
    ent = [
        PlanEntitlement(
            id=name,
            min_level=drawn.choice([0, 0, 0, 2]),
            exp=drawn.choice([None, None, to_numeric(START) + drawn.randrange(1, 9 * DAY)]),
        )
        for name in drawn.sample(NAMES, drawn.randrange(1, 4))
    ]
    period = drawn.choice([None, 7 * DAY])
    plan = Plan(
        entitlements=ent,
        period_seconds=period,
        late_payment_seconds=drawn.choice([0, 2 * DAY]) if period else 0,
        lease=LeaseTerms(max_seconds=drawn.choice([3600, DAY, 7 * DAY])),
    )
    shop.admin.create_plan(PlanDraft(name=f"plan-{number}", terms=plan))
    ends = (
        {"never": True} if number % 5 == 0 else {"expires_in_seconds": drawn.randrange(60, 9 * DAY)}
    )
    wish = IssueLicense(plan=f"plan-{number}", customer="li@example.com", **ends)
    computer = Computer(shop, seed=str(number))
    computer.activate(shop.admin.issue_license(wish).license_key)
    return computer


def question(drawn: random.Random, computer: Computer) -> tuple[int, SectionFacts | None]:
    """A moment, often on an edge of the lease, license or an entitlement, and a section."""
    lease, license_ = computer.lease, computer.license
    assert lease is not None and license_ is not None
    edges = [lease.exp, license_.nbf, *(e.exp for e in license_.ent if e.exp)]
    if license_.exp < license_.iat + 400 * DAY:  # the token of one that never ends says 400 days
        edges.append(license_.exp)
    on_edge = drawn.choice(edges) + drawn.choice([-1, 0, 1])
    at = drawn.choice([on_edge, lease.iat + drawn.randrange(0, 10 * DAY), lease.iat + 5])
    if drawn.random() < 0.2:
        return max(at, lease.iat), None
    groups = tuple(
        tuple(drawn.sample(NAMES, drawn.randrange(1, 3))) for _ in range(drawn.randrange(0, 3))
    )
    section = SectionFacts(
        product=drawn.choice(["facefusion"] * 5 + ["other"]),
        model="m",
        alternatives=groups,
        min_level=drawn.choice([0, 0, 0, 1]),
        memory=drawn.choice(["none", "none", "locked"]),
        release=drawn.choice([2, 3]),
        min_release=drawn.choice([0, 0, 3]),
    )
    return max(at, lease.iat), section


def of_the_server(shop: Shop, computer: Computer, at: int, section: SectionFacts | None) -> Facts:
    """The facts from the store's rows, as a key release gathers them."""
    claims = computer.request("release")
    with shop.server.context.store.engine.begin() as tx:
        device = acting.device(tx, computer.device_id or "")
        terms = acting.terms(tx, acting.license_of(tx, device))
        lease = releasing.lease_facts(tx, claims, device, terms)
    return Facts(
        action=Action.LOAD,
        now=from_numeric(at),
        product=shop.server.context.product,
        asked_product=claims.product,
        license=judging.license_facts(terms.license, terms.plan, shop.server.context.product),
        device=judging.device_facts(claims, terms.plan, device),
        lease=lease,
        section=section,
    )


def of_the_device(
    computer: Computer, at: int, listed: Status, section: SectionFacts | None
) -> Facts:
    """The facts from the two tokens and the status list."""
    license_, lease, now = computer.license, computer.lease, from_numeric(at)
    assert lease is not None
    standing = Standing(
        state=leases.state(license_, lease, None, listed, now),
        product="facefusion",
        now=now,
        floor=from_numeric(lease.iat),
        license=license_,
        lease=lease,
        denial=None,
        status=listed,
        record=None,
        held=Held(license_, lease, None, None, None),
    )
    return standing.facts(section)


def test_client_and_server_decide_alike_on_a_thousand_questions(shop: Shop) -> None:
    drawn = random.Random(5)
    computers = [activated(shop, drawn, number) for number in range(15)]
    listed = dict.fromkeys(range(15), Status.VALID)
    for number, act in ((3, "suspend"), (4, "revoke")):
        call = getattr(shop.admin, f"{act}_license")
        call(computers[number].license_id, "test")
        listed[number] = Status.SUSPENDED if act == "suspend" else Status.REVOKED
    told: Counter[str] = Counter()
    for _ in range(QUESTIONS):
        number = drawn.randrange(len(computers))
        computer = computers[number]
        at, section = question(drawn, computer)
        server = decide(of_the_server(shop, computer, at, section))
        device = decide(of_the_device(computer, at, listed[number], section))
        assert (server.code, server.step) == (device.code, device.step), (at, section)
        told[server.code] += 1
    assert told["allowed"] > 50
    assert set(told) >= {
        *("allowed", "license_expired", "lease_expired", "not_entitled", "level_not_reached"),
        *("wrong_product", "memory_not_reached", "release_too_old", "license_suspended"),
        "license_revoked",
    }


def test_both_courts_end_in_the_same_second(shop: Shop) -> None:
    computer = activated(shop, random.Random(1), 1)
    assert computer.lease is not None
    end = min(computer.lease.exp, computer.license.exp)
    for at, allowed in ((end - 1, True), (end, False), (end + 1, False)):
        for facts in (
            of_the_server(shop, computer, at, None),
            of_the_device(computer, at, Status.VALID, None),
        ):
            assert decide(facts).allowed is allowed
    assert from_numeric(end) - timedelta(seconds=1) >= START
