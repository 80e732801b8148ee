"""The client as ``Licensee``."""

from __future__ import annotations
