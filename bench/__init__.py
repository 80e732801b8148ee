"""``make bench``: what protection costs, plain against sealed, side by side on this machine."""
