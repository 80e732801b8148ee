"""A relay in a closed network: devices' questions carried to the license server, answers back.

It holds no key, decides nothing and is believed in nothing; one that proved its hardware may have a
budget and give leases within it by itself. Normative: ``docs/spec/relay.md``.
"""
