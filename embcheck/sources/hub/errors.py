"""What can go wrong between here and the hub, as one line each that says what to do."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from embcheck.errors import SourceError
from embcheck.sources import bounded
from embcheck.sources.files import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class UnreachableError(SourceError):
    """The hub can't be asked: it is away, or may not be asked. ``wait``: for how many seconds it wants no requests."""

    wait: float = 0


@contextmanager
def translate_errors(repo: str, revision: str | None = None, *, file: str | None = None) -> Iterator[None]:
    """Turn what huggingface_hub raises into `SourceError`, and keep its own output off the screen."""
    from huggingface_hub import errors

    what = repo if file is None else f"{repo}/{file}"
    try:
        with _silence_client():
            yield
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        _raise_missing(error, repo, revision)
    except errors.OfflineModeIsEnabled:
        raise offline_error(what) from None
    except errors.LocalEntryNotFoundError as error:
        _raise_uncached(error, what)
    except errors.EntryNotFoundError:
        raise SourceError(f"{repo} has no file {file}; see what it has at {_page(repo)}/tree/main") from None
    except errors.HfHubHTTPError as error:
        raise _refusal_error(error, what) from None
    except (errors.HTTPError, OSError, RuntimeError) as error:  # RuntimeError: how its own retries may fail
        raise unreachable_error(error, what) from None
    except ValueError as error:
        raise SourceError(f"{what} can't be asked for ({one_line(error)}); check its name, and HF_TOKEN") from None
    except (LookupError, TypeError, AttributeError) as error:  # where the client takes an answer for what it isn't
        raise SourceError(f"{what}: the hub's answer makes no sense ({one_line(error)}); check HF_ENDPOINT") from None


def check_endpoint() -> None:
    """Check the one variable that huggingface_hub trips over while it is imported."""
    text = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        shown = text.rpartition("@")[2]  # what stands before it may be a password
        raise SourceError(f"HF_ENDPOINT is {shown!r}, which is no address; write one such as https://huggingface.co")


def offline_error(what: str) -> UnreachableError:
    """The error for what is neither cached nor can be asked for."""
    from huggingface_hub import constants

    if not constants.HF_HUB_OFFLINE:
        return UnreachableError(
            f"{what} is not cached and {_endpoint()} can't be reached; check the network and HF_ENDPOINT, "
            "or give a directory on disk"
        )
    return UnreachableError(
        f"{what} is not cached and HF_HUB_OFFLINE is set; unset it once to read it, or give a directory on disk"
    )


def unreachable_error(error: BaseException, what: str) -> SourceError:
    """The error for a connection that failed, or for a disk that did."""
    if isinstance(error, OSError) and error.filename is not None:
        return SourceError(f"{what} can't be cached ({one_line(error)}); make room, or set HF_HOME to another place")
    return UnreachableError(
        f"cannot reach {_endpoint()} for {what} ({one_line(error) or type(error).__name__}); "
        "check the network and HF_ENDPOINT, or give a directory on disk"
    )


def _raise_missing(error: Exception, repo: str, revision: str | None) -> NoReturn:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):  # a subclass of RepositoryNotFoundError: comes first
        raise SourceError(
            f"{repo} is gated: accept its terms at {_page(repo)}, then set HF_TOKEN or run 'hf auth login'"
        ) from None
    if isinstance(error, errors.RepositoryNotFoundError):
        raise SourceError(
            f"there is neither a directory {repo} here nor a model {repo} on {_endpoint()} that you may see; "
            "check the name, or set HF_TOKEN if it is private"
        ) from None
    raise SourceError(
        f"{repo} has no revision {revision!r}; leave out '@' for its main branch, or see {_page(repo)}/commits/main"
    ) from None


def _raise_uncached(error: BaseException, what: str) -> NoReturn:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise offline_error(what) from None
    raise unreachable_error(error.__cause__ or error, what) from None


def _refusal_error(error: Exception, what: str) -> SourceError:
    """The error for an answer of another status: 401 for a wrong token, 429, 5xx."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in {401, 403}:
        return SourceError(f"{what} is refused to you (status {status}); check HF_TOKEN, or run 'hf auth login'")
    said = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", "")
    seconds = int(said) if said.isdecimal() and len(said) < 6 else 0
    if status == 429:
        while_ = f"{seconds} seconds" if seconds else "a few minutes"
        away = UnreachableError(f"too many requests for {what} (status 429); wait {while_}, or set HF_TOKEN")
    else:
        away = UnreachableError(f"the hub failed to answer for {what} ({one_line(error)}); try again later")
    away.wait = seconds
    return away


def _page(repo: str) -> str:
    return f"{_endpoint()}/{repo}"


def _endpoint() -> str:
    """The hub's address, without the password that it may hold."""
    from huggingface_hub import constants

    return one_line(constants.ENDPOINT)


@contextmanager
def _silence_client() -> Iterator[None]:
    """Without log lines, progress bars and requests of the client's own: it asks who runs it, and takes any answer."""
    from huggingface_hub import constants
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
        logging,
    )

    verbosity, bars = logging.get_verbosity(), not are_progress_bars_disabled()
    logging.set_verbosity(50)  # critical
    telemetry, constants.HF_HUB_DISABLE_TELEMETRY = constants.HF_HUB_DISABLE_TELEMETRY, True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an environment variable that wants bars always, or never
        if bars:
            disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        constants.HF_HUB_DISABLE_TELEMETRY = telemetry
        if bars:
            enable_progress_bars()


def within(seconds: float, work: Callable[[], Any], what: str) -> Any:
    """The result of some work (`bounded.within`) about something of the hub."""
    try:
        return bounded.within(seconds, work)
    except bounded.LateError as late:
        raise unreachable_error(TimeoutError(f"{late}, which HF_HUB_ETAG_TIMEOUT can change"), what) from None
