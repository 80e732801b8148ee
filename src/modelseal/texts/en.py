"""English texts. A clause in [brackets] falls away when a parameter in it is absent."""

TEXTS: dict[str, tuple[str, str, str]] = {
    "error": (
        "Something went wrong[: {detail}].",
        "The reason has no text in this release.",
        "Run `modelseal doctor`, and send its report with this message to support.",
    ),
}
