"""``modelseal.opencv``: OpenCV's networks of sealed models."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from modelseal.frameworks import opencv as adapter
from modelseal.runtime.content import Content, opened
from modelseal.runtime.hook.passing import unhooked
from modelseal.runtime.loading import is_plain

_ALL = tuple(ending for endings in adapter.ENDINGS.values() for ending in endings)


def reader(name: str) -> Any:
    """The reader ``name`` of ``cv2.dnn`` for sealed models; ``ExtraMissing`` without OpenCV."""
    plain = unhooked(getattr(adapter.runtime(), name))

    def read(model: Any, *args: Any, allow_plain: bool = False, **options: Any) -> Any:
        if is_plain(model, allow_plain=allow_plain):
            return plain(model, *args, **options)
        return read_sealed(name, model, args, options)

    read.__name__ = read.__qualname__ = name
    return read


def read_sealed(
    name: str, model: object, args: Sequence[object], options: Mapping[str, Any]
) -> Any:
    """``cv2.dnn.Net`` of a sealed model; its configuration, where there is one, is sealed too.

    ``args`` and ``options`` are what stood behind the model: configuration and format (texts, in
    this order) and the engine (a number).
    """
    plain = unhooked(adapter.runtime().readNet)
    options = dict(options)
    texts = [each for each in args if not isinstance(each, int)]
    engines = [each for each in args if isinstance(each, int)]
    if engines:
        options["engine"] = engines[0]
    config = options.pop("config", texts[0] if texts else None)
    said = options.pop("framework", texts[1] if len(texts) > 1 else "")
    known = adapter.READERS[name]
    with contextlib.ExitStack() as stack:
        content = stack.enter_context(opened(model, adapter.ENDINGS.get(known, _ALL)))
        form = adapter.format_of(name, content.name, str(said))
        settings = _config(stack, content, config, adapter.CONFIGS.get(form))
        return adapter.read(plain, form, content.data, settings, options)


def create_sealed(
    plain: Any, model: object, args: Sequence[object], options: Mapping[str, Any]
) -> Any:
    """What ``plain`` makes of a sealed model; ``args`` and ``options`` stood behind it. A
    configuration, which no format that is read from memory has here, is left out."""
    options = {name: value for name, value in options.items() if name != "config"}
    args = args if len(args) == 0 else args[1:]
    with opened(model, _ALL) as content:
        form = adapter.format_of("readNet", content.name)
        return adapter.create(plain, form, content.data, args, options)


def track_sealed(plain: Any, name: str, parameters: Any) -> Any:
    """The tracker ``name`` that ``plain`` makes of ``parameters`` that name sealed models."""
    models, others = adapter.TRACKERS[name]
    nets = [adapter.runtime().readNet(getattr(parameters, each)) for each in models]  # hooked
    for net in nets:
        net.setPreferableBackend(parameters.backend)
        net.setPreferableTarget(parameters.target)
    return plain(*nets, *(getattr(parameters, each) for each in others))


def _config(
    stack: contextlib.ExitStack, content: Content, config: object, ending: str | None
) -> memoryview | None:
    """What was named, or what lies sealed beside the weights under the same stem."""
    if config:
        return stack.enter_context(opened(config, () if ending is None else (ending,))).data
    if ending is None or not content.has_partner(ending):
        return None
    return stack.enter_context(content.partner(ending)).data
