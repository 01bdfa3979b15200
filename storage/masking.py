"""Which names and values look like secrets, and texts without them.

A name is cut into words (``MY_apiKey`` is my, api, key) so that ``tokenizer``, ``author`` and ``sort_key`` stay. To
mask too much costs a value that may stand in the code as well, to mask too little is a leak: in doubt, it is masked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

HIDDEN = "***"
_FINDABLE = 8  # characters of a secret from which on it is looked for in other texts


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_ANYWHERE = re.compile(
    r"passw(?:or)?d|passphrase|secret|credential|api[_.-]?key|access[_.-]?key|private[_.-]?key|conn(?:ection)?[_.-]?str"
    r"|webhook|cookie|\w(?:token|dsn)\b",
    re.IGNORECASE,
)
_WORD = _words(
    "apikey apprise auth authorization bearer credentials dsn jwt oauth otp pass passcode pin pwd sas sig signature"
    " token"
)
_KEY_OF_DATA = _words(  # a word before `key` with which it is a field, not a secret
    "batch column columns data dict feature foreign group id index image input join label lookup map metric metrics"
    " order output partition primary row sort state table target text"
)
_KEY_AS_DATA = _words(  # a word after `key` that says the same
    "bits board bytes column columns dim dims field frame frames length mask name names order padding phrase phrases"
    " point points rate shape size type usage word words"
)
_FOLDERS = frozenset({"PWD", "OLDPWD"})  # of the shell
_OWN_SECRETS = frozenset({"LINEART_ALERTS"})  # addresses that hold their tokens as host and path

# A flag, a variable or the name in a query or a connection string, and the value assigned to it.
_NAME = r"[\w.-]+"
_ASSIGNED = re.compile(rf"(?s)([-+~]*)({_NAME})=(.*)")
_FLAG = re.compile(rf"--?({_NAME})\Z")
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s&;"']+)"""
_VALUES = re.compile(_VALUE)
_INNER = (  # a name with what leads to its value, and what the value is, in that order: flags, assignments, JSON
    (re.compile(rf"(?<!\S)--?({_NAME})[ \t]+"), _VALUES),
    (re.compile(rf"(?<![\w.-])({_NAME})="), _VALUES),
    (
        re.compile(rf"""["']({_NAME})["']\s*:\s*"""),
        re.compile(r"""(?s:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?)|[^\s,}\]"']+"""),
    ),
)
_HEADER = re.compile(r"(?i)\b((?:proxy-)?authorization\s*:\s*)[^\r\n\"']+|\b(bearer\s+)[\w.~+/=-]{8,}")

_USER_OF_URL = re.compile(r"""(?<=://)(?:[^\s/"'<>]*@|[^\s/:@"'<>]+:(?!\d{1,5}(?:/|\Z))[^\s@"'<>]*@)""")
_USER_OF_SSH = re.compile(r"(?:git\+)?ssh://[^\s/:@]+@(?=[^\s@]*\Z)")
_TOKENS = (  # what the tokens of well-known services look like
    r"(?:A3T[A-Z0-9]|AKIA|ASIA|AGPA|AIDA|AROA|ABIA|ACCA)[A-Z0-9]{12,}",  # AWS
    r"gh[pousr]_[A-Za-z0-9]{10,}",
    r"github_pat_\w{10,}",
    r"gl(?:pat|dt|rt|cbt|ptt|soat)-[\w-]{10,}",
    r"sk-[\w-]{10,}",  # OpenAI, Anthropic
    r"[spr]k_(?:live|test)_\w{8,}|whsec_\w{10,}",  # Stripe
    r"xox[a-z]-[\w-]{8,}|xapp-[\w-]{8,}",  # Slack
    r"hf_[A-Za-z0-9]{10,}",
    r"wandb_v\d_\w{10,}",
    r"npm_[A-Za-z0-9]{10,}",
    r"pypi-[\w-]{10,}",
    r"dckr_pat_[\w-]{10,}",
    r"dop_v1_\w{10,}",
    r"AIza[\w-]{20,}|ya29\.[\w-]+|GOCSPX-[\w-]{10,}",  # Google
    r"SG\.[\w-]{10,}\.[\w-]{10,}",
    r"eyJ[\w-]{6,}(?:\.[\w-]*){1,4}",  # JSON web tokens
    r"\d{8,10}:[\w-]{35}(?![\w-])",  # Telegram
)
_SHAPES = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)"
    rf"|(?<![A-Za-z0-9])(?:{'|'.join(_TOKENS)})"
    r"|(?<=hooks\.slack\.com/)[^\s\"']+|(?<=/api/webhooks/)[^\s\"']+|(?<=webhook\.office\.com/)[^\s\"']+"
)


def names_secret(name: str) -> bool:
    """Whether a variable, flag or field of this name is likely to hold a secret.

    >>> [name for name in ("HF_TOKEN", "tokenizer", "wandbApiKey", "sort_key", "AUTHOR") if names_secret(name)]
    ['HF_TOKEN', 'wandbApiKey']
    """
    if name in _FOLDERS:
        return False
    if name in _OWN_SECRETS or _ANYWHERE.search(name):
        return True
    words = [word.lower() for word in _WORDS.findall(name)]
    for index, word in enumerate(words):
        if word in _WORD:
            return True
        if word in ("key", "keys"):
            before = words[index - 1] if index else ""
            after = words[index + 1] if index + 1 < len(words) else ""
            if before not in _KEY_OF_DATA and after not in _KEY_AS_DATA:
                return True
    return False


def mask_text(text: str, known: Iterable[str] = ()) -> str:
    """`text` in which everything that looks like a secret, and every one of `known`, reads ``***``.

    >>> mask_text("postgres://ada:hunter2@db/x?sslmode=off&token=abc")
    'postgres://***@db/x?sslmode=off&token=***'
    """
    for secret in known:
        text = text.replace(secret, HIDDEN)
    if "://" in text:
        text = _USER_OF_URL.sub(f"{HIDDEN}@", text)
    text = _SHAPES.sub(HIDDEN, text)
    text = _HEADER.sub(lambda m: f"{m[1] or m[2]}{HIDDEN}", text)
    for leading, value in _INNER:
        text = _without_values(text, leading, value)
    return text


def mask_address(address: str) -> str:
    """An address without user and password, and without what its query has of secrets, such as a signature.

    The user of an address of ssh without a password stays: it is that of the service, and without it nobody gets in.

    >>> mask_address("https://ada:hunter2@host/x?X-Amz-Signature=ab&part=1"), mask_address("ssh://git@host/x")
    ('https://host/x?X-Amz-Signature=***&part=1', 'ssh://git@host/x')
    """
    service = _USER_OF_SSH.match(address)
    if service is not None:
        return service[0] + mask_text(address[service.end() :])
    return mask_text(address).replace(f"://{HIDDEN}@", "://")


def masked(arguments: Sequence[str], known: Iterable[str] = ()) -> list[str]:
    """A command line in which values that look like secrets, and those `known`, read ``***``.

    >>> masked(["train.py", "--api-key", "abc", "--lr=0.1", "TOKEN=xyz"])
    ['train.py', '--api-key', '***', '--lr=0.1', 'TOKEN=***']
    """
    result, hide = [], False
    secrets = list(known)
    for argument in arguments:
        assigned = _ASSIGNED.fullmatch(argument)
        flag = _FLAG.match(argument)
        if hide:
            result.append(HIDDEN)
        elif assigned and _hides(assigned[2], assigned[3]):
            result.append(f"{assigned[1]}{assigned[2]}={HIDDEN}")
        else:
            result.append(mask_text(argument, secrets))
        hide = not hide and flag is not None and names_secret(flag[1])
    return result


def masked_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Environment variables in which values that look like secrets read ``***``, wherever they stand."""
    known = secret_values(variables)
    return {
        name: HIDDEN if value and names_secret(name) else mask_text(value, known)
        for name, value in variables.items()
    }


def secret_values(variables: Mapping[str, str]) -> list[str]:
    """The values of variables named like secrets, longest first, that are long enough to be found in other texts."""
    found = {value for name, value in variables.items() if len(value) >= _FINDABLE and names_secret(name)}
    return sorted((value for value in found if not value.startswith(("/", "~"))), key=len, reverse=True)


def masked_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON values without secrets: of what has a secret's name only true, false and null stay, of any text the rest.

    >>> masked_values({"lr": 0.1, "db": {"user": "ada", "password": "hunter2"}, "url": "s3://k:s@b/x"})
    {'lr': 0.1, 'db': {'user': 'ada', 'password': '***'}, 'url': 's3://***@b/x'}
    """
    known = secrets_among(values)
    return {key: _masked_value(item, names_secret(key), known) for key, item in values.items()}


def secrets_among(values: Mapping[str, Any]) -> list[str]:
    """The texts below names of secrets, longest first, that are long enough to be found in other texts."""
    found = {text for key, item in values.items() for text in _secret_texts(item, names_secret(key))}
    return sorted((text for text in found if len(text) >= _FINDABLE), key=len, reverse=True)


def _secret_texts(value: Any, is_secret: bool) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _secret_texts(item, is_secret or names_secret(key))
    elif isinstance(value, list):
        for item in value:
            yield from _secret_texts(item, is_secret)
    elif is_secret and isinstance(value, str):
        yield value


def _masked_value(value: Any, is_secret: bool, known: Sequence[str]) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _masked_value(item, is_secret or names_secret(key), known) for key, item in value.items()
        }
    if isinstance(value, list):
        return [_masked_value(item, is_secret, known) for item in value]
    if isinstance(value, str) and not is_secret:
        return mask_text(value, known)
    tells_nothing = value is None or value == "" or isinstance(value, bool)
    return HIDDEN if is_secret and not tells_nothing else value


def _hides(name: str, value: str) -> bool:
    return bool(value) and value != HIDDEN and names_secret(name)


def _without_values(text: str, leading: re.Pattern[str], value: re.Pattern[str]) -> str:
    """`text` without the values that follow a name of a secret."""
    parts, end = [], 0
    for match in leading.finditer(text):
        if match.start() < end or not names_secret(match[1]):
            continue
        found = value.match(text, match.end())
        if found is None or found[0] == HIDDEN:
            continue
        quote = found[0][0] if found[0][0] in "\"'" and match[0][-1] != "=" else ""
        parts += [text[end : match.end()], quote, HIDDEN, quote]
        end = found.end()
    return "".join([*parts, text[end:]])
