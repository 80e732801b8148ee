"""Puts stresses into words with silero-stress, whose models are packages of torch."""

import warnings

from silero_stress import load_accentor

warnings.simplefilter("ignore")
for language, text in (
    ("bel", "мама мыла раму"),
    ("ukr", "мама мила раму"),
    ("ru", "мама мыла раму"),
):
    print(language, load_accentor(lang=language)(text))
