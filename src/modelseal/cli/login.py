"""``modelseal login`` and ``logout``: a person's own session at a license server."""

from __future__ import annotations

from typing import Annotated

import typer

from modelseal.cli import context, options, talk

Server = Annotated[str, typer.Option("--server", help="The license server (https://…).")]


def login(
    server: Server,
    device: Annotated[
        bool, typer.Option("--device", help="Show a code to type elsewhere: no browser here.")
    ] = False,
    open_browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the browser by itself.")
    ] = True,
    home: options.Home = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Sign in at a server as a person, without a token."""
    from modelseal.desk import sessions, signin

    def show(url: str) -> None:
        talk.said("sign_in_at", url=url)
        if open_browser:
            import threading
            import webbrowser

            # Some browsers are waited for, and this process has to answer them meanwhile.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    session = signin.sign_in(
        server,
        show=None if device else show,
        show_code=lambda code: talk.said("sign_in_code", url=code.url, code=code.code),
        trust=context.pinned(home),
        ca=ca,
    )
    path = sessions.keep(server, session)
    told = {
        "token_id": session.token_id, "role": session.role, "person": session.person,
        "expires_at": session.expires_at, "idle_seconds": session.idle_seconds, "path": str(path),
    }  # fmt: skip
    talk.answer(
        told,
        lambda: talk.said(
            "signed_in", role=session.role.value, ends=talk.plain(session.expires_at),
            minutes=session.idle_seconds // 60,
        ),
        as_json=json,
    )  # fmt: skip


def logout(
    server: Server,
    home: options.Home = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """End the session, here and at the server."""
    from modelseal.desk import sessions
    from modelseal.desk.remote import RemoteAdmin
    from modelseal.errors import CredentialInvalid

    kept = sessions.find(server)
    ended = False
    if kept is not None:
        try:
            with RemoteAdmin(server, kept.token, trust=context.pinned(home), ca=ca) as remote:
                remote.end_session()
            ended = True
        except CredentialInvalid:
            ended = False  # it was over before
        finally:  # a server that cannot be reached ends it by its idle limit
            sessions.forget(server)
    talk.answer(
        {"server": server, "ended": ended},
        lambda: talk.said("signed_out" if kept is not None else "signed_out_nobody"),
        as_json=json,
    )
