"""``python -m modelseal`` is the ``modelseal`` command."""

from modelseal.cli import run_and_exit

run_and_exit()
