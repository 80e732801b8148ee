"""Found first on PYTHONPATH under ``modelseal run``: starts the hook, then whatever
``sitecustomize`` there was before. Runs before every program, so it imports next to nothing.
"""

import sys


def _start() -> None:
    import os

    here = os.path.dirname(__file__)  # noqa: PTH120 - pathlib costs time at every start
    sys.path[:] = [place for place in sys.path if place != here]
    try:
        from modelseal.runtime import hook
    except ImportError:
        # Another interpreter, without modelseal: sealed models stay what they are, sealed.
        report = os.environ.get("MODELSEAL_RUN_REPORT")
        if report:
            import json

            line = f"{sys.executable} has no modelseal; it opens no sealed model."
            entry = {"code": "hook_absent", "path": sys.executable, "lines": [line]}
            try:
                if report.startswith("/proc/") and "modelseal-run" not in os.readlink(report):  # noqa: PTH115
                    return
                with open(report, "a", encoding="utf-8") as file:  # noqa: PTH123
                    file.write(json.dumps(entry) + "\n")
            except OSError:
                pass
        return
    if os.environ.get("MODELSEAL_ISOLATED"):
        from modelseal.runtime import isolated

        isolated.tell()
    hook.start()


def _chain() -> None:
    found = (finder.find_spec("sitecustomize", None) for finder in sys.meta_path)
    spec = next((spec for spec in found if spec is not None), None)
    if spec is None or spec.loader is None or spec.origin == __file__:
        return
    from importlib.util import module_from_spec

    ours = sys.modules.get(__name__)
    module = module_from_spec(spec)
    sys.modules[__name__] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if ours is not None:
            sys.modules[__name__] = ours
        raise


try:
    _start()
finally:
    _chain()
