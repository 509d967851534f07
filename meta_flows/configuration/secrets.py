"""Detecting and masking secrets, by name and by value."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

from meta_flows.configuration.documents import Document, leaves
from meta_flows.diagnostics import diagnostic
from meta_flows.models import Diagnostic, kebab

MASK = "••••••"
"""Shown in place of a secret."""

_SECRET_NAME = re.compile(
    r"""(^|_)(PASSWORDS?|PASSWD|PASSPHRASE|SECRETS?|TOKEN|CREDENTIALS?|APIKEY|AUTH_STRING|BASIC_AUTH
    |(API|ACCESS|PRIVATE|SECRET|ENCRYPTION|SIGNING|MASTER|ACCOUNT)_KEY)(_|$) | PASSW(OR)?D(_|$)""",
    re.VERBOSE,
)
_PASSWORD_NAME = re.compile(r"._(PASS|PWD)$")
_LIKELY_SECRET_NAME = re.compile(r"(^|_)(KEYS?|TOKENS|AUTH|AUTHORIZATION|JWT|COOKIE|SALT|PAT)(_|$)")
_PUBLIC_NAME = re.compile(r"(^|_)(COMMIT|SHA|REVISION|DIGEST|HASH|CHECKSUM|ETAG|PUBLIC|ID|VERSION)(_|$)")
_METADATA_NAME = re.compile(
    r"""^(MAX|MIN|NUM|USE|HAS|ENABLE)_ | _(FILE|PATH|DIR|FOLDER|URL|URI|ENDPOINT|HOST|PORT|NAME|ID|HEADER|FIELD|COLUMN
    |BLOCK|LENGTH|LIMIT|COUNT|SIZE|BUDGET|DAYS|HOURS|MINUTES|SECONDS|TTL|TIMEOUT|EXPIRY|TYPE|MODE|METHOD|ENABLED
    |REQUIRED|POLICY|ALGORITHM|FORMAT|VERSION|MODEL|ENV|PARAMETER|ALIAS|ARN|BACKEND|PROVIDER|STORE|IP|USER|USERNAME)$""",
    re.VERBOSE,
)

_PLACEHOLDER = re.compile(r"\{\{.*?\}\}|\$\{\w+\}|\$\w+$", re.DOTALL)
_BLOCK = re.compile(r"\{\{\s*prefect\.blocks\.")
_FLAG = re.compile(r"(?i)true|false|yes|no|on|off|none|null")
_SECRET_STORE_ADDRESS = re.compile(r"arn:|vault:|projects/[^/]+/secrets/")
_UUID_OR_DIGEST = re.compile(r"(?i)\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(sha\d+|md5):[0-9a-f]+")
_PATH_OR_URL = re.compile(r"[/~.]|[A-Za-z]:\\|\w+://")
_KNOWN_SECRET = re.compile(
    r"""-----BEGIN\ [A-Z ]*PRIVATE\ KEY-----
    | \b(AKIA|ASIA)[A-Z0-9]{16}\b                                # AWS
    | \bgh[pousr]_\w{20} | \bgithub_pat_\w{20} | \bglpat-[\w-]{16}
    | \bxox[abeoprs]-[\w-]{8} | //hooks\.slack\.com/services/\w
    | \bsk-[\w-]{16} | \b[rs]k_(live|test)_\w{8}                 # OpenAI, Anthropic, Stripe
    | \bAIza[\w-]{30} | \bpn[ub]_\w{16} | \bnpm_\w{20} | \bpypi-[\w-]{20} | \bhf_\w{20}
    | \beyJ[\w-]{8,}\.[\w-]{8}                                   # JSON web token
    | \b(?i:bearer|basic)\ +(?=[\w+/=.~-]*[0-9=])[\w+/=.~-]{8} # neither `Basic authentication` nor `Bearer TOKEN`
    | (?i:\bauthorization\b\W+(bearer|basic)\ +[\w+/=.~-]{8})
    | ://[^/\s:@]*:[^/\s@]+@ | \bhttps?://(?!git@)[^/\s@]+@     # user:password@host, token@host
    | --[\w-]*(?i:password|passwd|secret|token|api-?key)             # an option: neither `--token FILE` nor a sentence
      (=|\ +(?=\S*[^\sA-Za-z.,;:)'"]))(?![A-Z_]+(\s|$))[^\s=-]
    | (?i:\b(password|passwd|pwd|secret|token|sig|signature|api_?key|access_?key|accountkey)=[^&;\s])
    """,
    re.VERBOSE,
)
_MIN_RANDOM_LENGTH, _MIN_RANDOM_LENGTH_IF_LIKELY = 20, 12
_MIN_RANDOM_CHANGES = 0.25
"""Smallest share of a random text's characters at which lower case, upper case and digits change."""
_MIN_MASKED_LENGTH = 4
"""A shorter secret occurs in any text by chance."""


def looks_secret(name: str, value: object) -> bool:
    """Return whether a value must not be shown; only text and numbers can be secret.

    Names are matched by word: `DB_PASSWORD` and `apiKey`, but neither `KEYBOARD` nor `TOKEN_URL`; in a dotted path
    only the last word other than `default`. Values are matched by form: known prefixes, private keys, passwords in
    addresses, long random text. Placeholders are no secrets: `{{ prefect.blocks... }}`, `${VARIABLE}`.
    """
    return not isinstance(value, bool) and isinstance(value, str | int) and _looks_secret(name, str(value))


@lru_cache(maxsize=10_000)  # many deployments share most of their values
def _looks_secret(name: str, value: str) -> bool:
    text = _PLACEHOLDER.sub("", value).strip()
    name = "_".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", _last_part(name))).upper()
    if not text or _FLAG.fullmatch(text):
        return False
    if _KNOWN_SECRET.search(text):
        return True
    min_length = _MIN_RANDOM_LENGTH_IF_LIKELY if _LIKELY_SECRET_NAME.search(name) else _MIN_RANDOM_LENGTH
    if not _PUBLIC_NAME.search(name) and any(_is_random(part, min_length) for part in re.split(r"[\s,;|]+", text)):
        return True
    is_secret_name = _SECRET_NAME.search(name) or (_PASSWORD_NAME.search(name) and not text.isdecimal())
    return bool(is_secret_name) and not (_METADATA_NAME.search(name) or _SECRET_STORE_ADDRESS.match(text))


def _last_part(name: str) -> str:
    return name.removesuffix(".default").rpartition(".")[2]


def plain_secrets(document: Document, allowed: Collection[str] = ()) -> Iterator[Diagnostic]:
    """Yield an error for each value of a document that is a secret in plain text, at any depth.

    `allowed` are dotted paths of values that only look secret, as `allow_plain` names them.
    """
    for path, value in leaves(document.data):
        names = [part for part in path if isinstance(part, str)]
        if "base_job_template" in path and names[-1] in ("title", "description"):
            continue
        dotted = ".".join(map(str, path)).replace("default_parameters.", "parameters.")
        if any(dotted == at or dotted.endswith(f".{at}") for at in allowed):
            continue
        if any(looks_secret(".".join(names), item) for item in (value if isinstance(value, list) else (value,))):
            code = "MF303" if {"parameters", "default_parameters"}.intersection(path) else "MF301"
            key = _last_part(".".join(names))
            yield diagnostic(code, document.place(path), key=key, block=kebab(key), path=dotted)


def masked(name: str, value: Any) -> Any:
    """Return a value with every secret in it replaced by a mask."""
    return _replaced(name, value, lambda name, item: MASK if looks_secret(name, item) else item)


def _replaced(name: str, value: Any, replace: Callable[[str, Any], Any]) -> Any:
    """Return a copy of a value with each scalar replaced, given its dotted name; a tuple becomes a list."""
    if isinstance(value, Mapping):
        return {key: _replaced(f"{name}.{key}", item, replace) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(name, item, replace) for item in value]
    return replace(name, value)


def masked_pair(name: str, old: Any, new: Any) -> tuple[Any, Any]:
    """Return an old and a new value with their secrets masked.

    A value that replaces, or is replaced by, a reference to a block is a secret whatever its name and form.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        pairs = {key: masked_pair(f"{name}.{key}", old.get(key), new.get(key)) for key in (*old, *new)}
        return {key: pairs[key][0] for key in old}, {key: pairs[key][1] for key in new}
    if isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        each = [masked_pair(name, before, after) for before, after in zip(old, new, strict=True)]
        return [before for before, _ in each], [after for _, after in each]
    if _refers_to_block(old) or _refers_to_block(new):
        return _only_block_references(old), _only_block_references(new)
    return masked(name, old), masked(name, new)


def _refers_to_block(value: Any) -> bool:
    if isinstance(value, Mapping | list | tuple):
        return any(map(_refers_to_block, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, str) and bool(_BLOCK.search(value))


def _only_block_references(value: Any) -> Any:
    return _replaced("", value, lambda _, item: item if item is None or _refers_to_block(item) else MASK)


def without_secrets(text: str, sent: Any, name: str = "") -> str:
    """Return a text with every secret masked that occurs in `sent`, such as the body of a request."""
    if isinstance(sent, Mapping):
        for key, value in sent.items():
            text = without_secrets(text, value, f"{name}.{key}")
    elif isinstance(sent, list | tuple):
        for value in sent:
            text = without_secrets(text, value, name)
    elif looks_secret(name, sent):
        for spelling in {str(sent), json.dumps(str(sent))[1:-1], repr(str(sent))[1:-1]}:
            text = text.replace(spelling, MASK) if len(spelling) >= _MIN_MASKED_LENGTH else text
    return text


def _is_random(text: str, min_length: int) -> bool:
    """Return whether letters and digits alternate as in no word, date or version; never true of addresses and paths."""
    if _PATH_OR_URL.match(text):
        return False
    for part in re.split(r"[-_.:]", _UUID_OR_DIGEST.sub("", text)):
        changes = re.findall(r"[a-z](?=[A-Z0-9])|[A-Z](?=[0-9])|[0-9](?=[A-Za-z])", part)
        mixed = any(map(str.isdigit, part)) and any(map(str.isalpha, part))
        if len(part) >= min_length and mixed and len(changes) >= _MIN_RANDOM_CHANGES * len(part):
            return True
    return False
