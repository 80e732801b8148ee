"""``configured.py FOLDER``: the configuration of a model, as transformers reads it."""

import sys

from transformers import AutoConfig

print(AutoConfig.from_pretrained(sys.argv[1]).n_embd)
