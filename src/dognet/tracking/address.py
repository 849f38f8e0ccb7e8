"""The address of an MLflow store, and what can be wrong with the store."""

from __future__ import annotations

import http.client
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from dognet.errors import UserError, without_password

KINDS = ("http", "https", "postgresql", "mysql", "mssql")  # of stores besides SQLite files
PROXY = re.compile(r"(?:^|failed with error code )(\d{3}) (?:\w+ Error|!= 200)")  # as MLflow quotes its answer
REBUILD = "delete it, and `dognet sync` rebuilds it from the run folders"


class StoreError(UserError):
    """A store that can't be reached or written. The message says which one, and why."""


class AddressError(StoreError):
    """A URI that is not a store that MLflow can write. The message says how to write the URI."""


class RefusedError(StoreError):
    """A run that the store rejects while it accepts others: too large for a proxy, or permission is missing."""


def locate(tracking_uri: str | None, root: Path) -> str:
    """Return the URI of the store: the setting, else $MLFLOW_TRACKING_URI, else mlflow.db in ``root``; absolute."""
    uri = (tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db").strip()
    kind = uri.partition(":")[0].partition("+")[0]
    if uri.startswith("sqlite:///"):
        file = re.sub("^/~", "~", uri.removeprefix("sqlite:///"))
        return f"sqlite:///{(root / os.path.expanduser(file)).resolve()}"
    if re.search(r"\s", uri) and ("@" in uri or kind in KINDS):
        raise AddressError("tracking_uri has a blank: in a user's name or a password write %20")
    if uri == "none" or ("://" in uri and kind in KINDS and has_place(uri)):
        return uri.rstrip("/")
    shown = without_password(uri)
    raise AddressError(f"tracking_uri {shown} is not a store that MLflow can write: {advice(shown)}")


def has_place(uri: str) -> bool:
    """Return whether a URI's host and port are valid."""
    try:  # a database's password may hold characters that end a host
        port = urlsplit(uri if uri.startswith("http") else without_password(uri)).port
    except ValueError:
        return False
    return port != 0


def store_uri(tracking_uri: str | None, root: Path) -> str:
    """Return the URI of the store: ``tracking_uri`` if given, else the one in the project's settings."""
    from dognet.conf import compose  # imports Hydra, which the recorder does not need

    return locate(tracking_uri or compose(root).tracking_uri, root)


def advice(uri: str) -> str:
    """Return how to write a URI that MLflow can't use."""
    if uri.startswith("sqlite:"):
        return f"write sqlite:///{uri.removeprefix('sqlite:').strip('/') or 'mlflow.db'}, with three slashes"
    if re.fullmatch(r"[\w.-]+:\d+(/\S*)?", uri):
        return f"write http://{uri}"
    if uri.endswith((".db", ".sqlite", ".sqlite3")):
        return f"write sqlite:///{uri.removeprefix('file:')}"
    return "write a file as sqlite:///mlflow.db, a server as http://localhost:5000; MLflow 3 no longer writes folders"


def sqlite_file(uri: str) -> Path | None:
    """Return the file of an SQLite store, None for another kind of store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def artifact_location(uri: str, root: Path, study: str) -> str | None:
    """Return where a study's artifacts go; None on a server, which decides that itself."""
    if uri.startswith("http"):
        return None
    file = sqlite_file(uri)
    return ((file.parent if file else root.resolve()) / "mlartifacts" / study).as_uri()


def failure(uri: str, error: BaseException) -> StoreError:
    """Return a store's exception as StoreError, or as RefusedError if a server rejected only this request."""
    refused = 400 <= (status(error) or 0) < 500 and status(error) not in (401, 408, 429)
    return (RefusedError if refused else StoreError)(f"{without_password(uri)}: {reason(error)}")


def status(error: BaseException) -> int | None:
    """Return the HTTP status that belongs to an exception, even if the store is not a server; None if there is none."""
    from mlflow.exceptions import MlflowException

    if match := PROXY.search(str(error)):
        return int(match[1])
    return int(error.get_http_status_code()) if isinstance(error, MlflowException) else None  # type: ignore[no-untyped-call]


def reason(error: BaseException) -> str:
    """Return in one line why the store failed."""
    text = without_password(str(error)) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "its certificate is not trusted: set MLFLOW_TRACKING_SERVER_CERT_PATH to a file with its CA certificate"
    if {type(error.__cause__).__name__, type(error.__context__).__name__} & {"ConnectionError", "ReadTimeout"}:
        return "no answer"
    if "out-of-date database schema" in text:
        return "its tables belong to another version of MLflow; 'mlflow db upgrade' with its URI updates older ones"
    if "readonly database" in text:
        return "you may only read this file"
    if "malformed" in text or "not a database" in text:
        return f"the file is damaged: {REBUILD}"
    if match := PROXY.search(text):  # what follows is its page
        return f"{match[1]} {http.client.responses.get(int(match[1]), '')}"
    return text.splitlines()[0].strip()
