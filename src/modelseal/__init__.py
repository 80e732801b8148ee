"""modelseal: give an AI model to customers without losing it."""

__version__ = "0.1.0"
