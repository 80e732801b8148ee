"""The shop of the server's tests, for the adversary too."""

from tests.server.conftest import copied, shop, store, template

__all__ = ["copied", "shop", "store", "template"]
