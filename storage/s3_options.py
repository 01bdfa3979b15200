"""How to get to a bucket: the options behind the ``?`` of its address, in a settings file or in the environment.

They say how to get there, not what is there: a store has the same caches, notes and outbox by whatever options it is
reached. Credentials are none of them. Those come from where AWS's own tools find them, and never lie in an address,
which ends up in settings files, process lists and messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from .answers import without_credentials
from .errors import UsageError

__all__ = ["S3_SCHEMES", "TIMEOUT_S", "check_options", "parse_options", "s3fs_options", "split_address"]

S3_SCHEMES = ("s3", "s3a")
TIMEOUT_S = 30.0  # no byte moved for so long: the transfer has stalled

_ENCRYPTIONS = ("AES256", "aws:kms", "aws:kms:dsse")
_PASSED_ON = (
    "client_kwargs",
    "config_kwargs",
    "s3_additional_kwargs",
)  # tables for s3fs, in settings files only
_CREDENTIALS = {
    *(
        "key",
        "key_id",
        "access_key",
        "access_key_id",
        "secret",
        "secret_key",
        "secret_access_key",
        "username",
        "user",
    ),
    *(
        "token",
        "session_token",
        "security_token",
        "password",
        "credential",
        "credentials",
        "signature",
        "sig",
    ),
    *("account_key", "sas", "sas_token", "connection_string", "client_secret"),
}
_HOW = (
    "credentials come from the environment (AWS_ACCESS_KEY_ID), a profile of ~/.aws, or the machine's role;"
    " for a profile say profile=NAME"
)


def _switch(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError("true or false")
    return text.lower() in ("true", "1")


def _endpoint(text: str) -> str:
    if not re.fullmatch(
        r"https?://[A-Za-z0-9.\-_]+(:\d{1,5})?/?|https?://\[[0-9a-fA-F:]+\](:\d{1,5})?/?", text
    ):
        raise ValueError("an address such as https://minio.example.org:9000, without user and password")
    return text.rstrip("/")


def _region(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,63}", text):
        raise ValueError("a region such as eu-central-1")
    return text


def _encryption(text: str) -> str:
    if text not in _ENCRYPTIONS:
        raise ValueError(" or ".join(_ENCRYPTIONS))
    return text


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d{1,6}(\.\d+)?", text) or float(text) <= 0:
        raise ValueError("seconds above 0, such as 30")
    return float(text)


def _plain(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("a name")
    return text


_OPTIONS: dict[str, Callable[[str], Any]] = {
    "region": _region,
    "endpoint": _endpoint,
    "profile": _plain,
    "anon": _switch,
    "requester_pays": _switch,
    "sse": _encryption,
    "sse_kms_key": _plain,
    "timeout": _seconds,
}
_ALIASES = {"region_name": "region", "endpoint_url": "endpoint", "sse_kms_key_id": "sse_kms_key"}


def split_address(url: str) -> tuple[str, dict[str, Any]]:
    """An address without its options, and these. Addresses of folders and of other services have none.

    >>> split_address("s3://bucket/prefix?region=eu-west-1&anon=true")
    ('s3://bucket/prefix', {'region': 'eu-west-1', 'anon': True})

    Raises: UsageError for an option that is unknown or malformed, and for credentials in any address.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url, {}
    place, question, query = rest.partition("?")
    has_user = "@" in place if scheme in S3_SCHEMES else re.match(r"[^/@]*:.*@", place) is not None
    if has_user:
        raise UsageError(
            f"store {without_credentials(url)}: the address has a user or password before '@'; {_HOW}"
        )
    if scheme not in S3_SCHEMES:
        for name, _ in parse_qsl(query, keep_blank_values=True):
            _refuse_credential(f"store {without_credentials(url)}", name)
        return url, {}
    bare = f"{scheme}://{place}"
    return bare, parse_options(query, f"store {bare}") if question else {}


def parse_options(query: str, origin: str) -> dict[str, Any]:
    """The options in ``region=eu-west-1&anon=true``; `origin` says in messages where they stand.

    Raises: UsageError.
    """
    found: dict[str, Any] = {}
    for name, text in parse_qsl(query.strip(), keep_blank_values=True):
        known = _ALIASES.get(name, name)
        if known in found:
            raise UsageError(f"{origin}: option {name!r} is given twice; give it once")
        found[known] = _parsed(known, name, text, origin)
    return _agreeing(found, origin)


def check_options(options: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """The table `storage_options` of a settings file for a store on S3: the same options, and tables for s3fs.

    Raises: UsageError.
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        known = _ALIASES.get(name, name)
        if known in _PASSED_ON:
            if not isinstance(value, Mapping):
                raise UsageError(f"{origin}: option {name!r} is {value!r}; expected a table")
            for inner in value:
                _refuse_credential(origin, inner)
            found[known] = value
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            found[known] = _parsed(known, name, text, origin, (*_OPTIONS, *_PASSED_ON))
    return _agreeing(found, origin)


def s3fs_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `s3fs.S3FileSystem`; what is no option of ours goes there as it is.

    >>> s3fs_options({"region": "eu-west-1", "sse": "AES256"})
    {'client_kwargs': {'region_name': 'eu-west-1'}, 's3_additional_kwargs': {'ServerSideEncryption': 'AES256'}}
    """
    rest = {_ALIASES.get(name, name): value for name, value in options.items()}
    rest.pop("timeout", None)
    client = dict(rest.pop("client_kwargs", None) or {})
    request = dict(rest.pop("s3_additional_kwargs", None) or {})
    if "region" in rest:
        client["region_name"] = rest.pop("region")
    if "endpoint" in rest:
        client.pop("endpoint_url", None)
        rest["endpoint_url"] = rest.pop("endpoint")
    if "sse" in rest:
        request["ServerSideEncryption"] = rest.pop("sse")
    if "sse_kms_key" in rest:
        request["SSEKMSKeyId"] = rest.pop("sse_kms_key")
    return {
        **rest,
        **({"client_kwargs": client} if client else {}),
        **({"s3_additional_kwargs": request} if request else {}),
    }


def _parsed(known: str, name: str, text: str, origin: str, names: tuple[str, ...] = tuple(_OPTIONS)) -> Any:
    if known not in _OPTIONS:
        _refuse_credential(origin, name)
        raise UsageError(f"{origin}: unknown option {_shown(name)!r}; expected {_known_words(names)}")
    try:
        return _OPTIONS[known](text)
    except ValueError as error:
        raise UsageError(f"{origin}: option {name!r} is {_shown(text)!r}; expected {error}") from None


def _refuse_credential(origin: str, name: str) -> None:
    if re.sub(r"^(aws|x_amz)_", "", name.lower().replace("-", "_")) in _CREDENTIALS:
        raise UsageError(f"{origin}: option {name!r} is a credential, which is not taken from here; {_HOW}")


def _agreeing(found: dict[str, Any], origin: str) -> dict[str, Any]:
    if "sse_kms_key" in found and not str(found.get("sse", "")).startswith("aws:kms"):
        raise UsageError(f"{origin}: option 'sse_kms_key' needs sse=aws:kms; add it")
    if found.get("anon") and "profile" in found:
        raise UsageError(f"{origin}: anon=true signs no request, so 'profile' means nothing; leave one out")
    return found


def _shown(text: str) -> str:
    """What may stand in a message: the user may have put a secret anywhere."""
    shown = without_credentials(text)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"


def _known_words(names: tuple[str, ...] = tuple(_OPTIONS)) -> str:
    return ", ".join(names)
