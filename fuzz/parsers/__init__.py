"""One file per parser; see ``fuzz``."""
