"""Simplified Chinese texts. A clause in [brackets] falls away when a parameter is absent."""

TEXTS: dict[str, tuple[str, str, str]] = {}
