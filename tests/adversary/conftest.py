"""The shop of the server's tests, for the adversary too."""

from tests.server.conftest import shop, template

__all__ = ["shop", "template"]
