"""Everything that can go wrong, on one screen.

FaceFusionError
├── PictureUnreadable     an input cannot be read as a picture or video
├── NoFaceFound           an input was read and shows no face
├── OutputNotWritable     the place for the result cannot be written
├── FormatNotSupported    the result's file type cannot carry the SYNTHETIC label
├── ModelMissing          a model file is not there (the prepare step makes it)
├── ModelUnusable         a model file is there and is not what it should be
├── ModelSealed           a model file is sealed and nothing here unlocks it
├── ModelRefused          modelseal refused a sealed model, with its reason
└── PrepareFailed         the prepare step could not finish
"""

from __future__ import annotations


class FaceFusionError(Exception):
    """What happened, why, and what to do next, for a person.

    `code` is stable and meant for programs. `exit_code` is what the command line returns.
    """

    code = "unexpected"
    exit_code = 1

    def __init__(self, message: str, next_step: str) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message}\n{self.next_step}"


class PictureUnreadable(FaceFusionError):
    code = "picture_unreadable"
    exit_code = 4


class NoFaceFound(FaceFusionError):
    code = "no_face_found"
    exit_code = 4


class OutputNotWritable(FaceFusionError):
    code = "output_not_writable"
    exit_code = 5


class FormatNotSupported(FaceFusionError):
    code = "format_not_supported"
    exit_code = 2


class ModelMissing(FaceFusionError):
    code = "model_missing"
    exit_code = 5


class ModelUnusable(FaceFusionError):
    code = "model_unusable"
    exit_code = 4


class ModelSealed(FaceFusionError):
    code = "model_sealed"
    exit_code = 5


class ModelRefused(FaceFusionError):
    """`code` is modelseal's own; `exit_code` too where modelseal names one, else 3, refused."""

    exit_code = 3

    def __init__(self, message: str, next_step: str, code: str) -> None:
        super().__init__(message, next_step)
        self.code = code


class PrepareFailed(FaceFusionError):
    code = "prepare_failed"
    exit_code = 5
