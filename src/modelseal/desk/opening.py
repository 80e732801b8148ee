"""Opening sealed models at the desk, with the keys it recorded or recovers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from modelseal import container
from modelseal.container import TogetherRef, VerifiedModel
from modelseal.desk.filesource import FileSource
from modelseal.desk.records import DataKeys
from modelseal.desk.workspace import Workspace
from modelseal.errors import Misuse, NotFound


@contextmanager
def opened(workspace: Workspace, path: Path) -> Iterator[VerifiedModel]:
    """The sealed model at ``path``, proved to be this publisher's and of this product.

    Raises the container's errors: ``NotSealed``, ``WrongPublisher``, ``WrongProduct`` and others.
    """
    with FileSource(path) as source:
        parsed = container.parse(source)
        keys = workspace.trust.publisher_keys()
        yield parsed.verify_signatures(keys, product=workspace.product)


def data_keys(workspace: Workspace, model: VerifiedModel, at: datetime) -> DataKeys:
    """The data keys of ``model``: from the desk's record, else from its own recovery entry.

    Every key has been compared with its commitment.
    """
    try:
        found = workspace.models.keys_of(workspace.models.get(model.file_id))
        for section, key in found.keys.items():
            model.check_key(section, key)
    except NotFound:
        recovered = model.recover_keys(workspace.recovery_key(at, model.header.recovery.kid))
        secret = model.open_index(recovered[0]).secret
        found = DataKeys(recovered, secret)
    return found


def together_ref(workspace: Workspace, path: Path) -> TogetherRef:
    """The demand that the sealed model at ``path`` be there, too."""
    with opened(workspace, path) as model:
        keys = workspace.models.keys_of(workspace.models.get(model.file_id))
        if keys.together is None:
            raise Misuse("the other model has no secret to be demanded by", model=model.model)
        return TogetherRef(model.model, keys.together)
