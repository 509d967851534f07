"""Telling secrets from other values by their names and their looks, without crying wolf."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

from meta_flows.configuration.documents import Document, leaves
from meta_flows.diagnostics import diagnostic
from meta_flows.models import Diagnostic, kebab

MASK = "••••••"
"""What is shown in place of a secret."""

_SECRET = re.compile(
    r"""(^|_)(PASSWORDS?|PASSWD|PASSPHRASE|SECRETS?|TOKEN|CREDENTIALS?|APIKEY|AUTH_STRING|BASIC_AUTH
    |(API|ACCESS|PRIVATE|SECRET|ENCRYPTION|SIGNING|MASTER|ACCOUNT)_KEY)(_|$) | PASSW(OR)?D(_|$)""",
    re.VERBOSE,
)
_SHORT_PASSWORD = re.compile(r"._(PASS|PWD)$")
_SUSPICIOUS = re.compile(r"(^|_)(KEYS?|TOKENS|AUTH|AUTHORIZATION|JWT|COOKIE|SALT|PAT)(_|$)")
_OPEN = re.compile(r"(^|_)(COMMIT|SHA|REVISION|DIGEST|HASH|CHECKSUM|ETAG|PUBLIC|ID|VERSION)(_|$)")
_ABOUT_A_SECRET = re.compile(
    r"""^(MAX|MIN|NUM|USE|HAS|ENABLE)_ | _(FILE|PATH|DIR|FOLDER|URL|URI|ENDPOINT|HOST|PORT|NAME|ID|HEADER|FIELD|COLUMN
    |BLOCK|LENGTH|LIMIT|COUNT|SIZE|BUDGET|DAYS|HOURS|MINUTES|SECONDS|TTL|TIMEOUT|EXPIRY|TYPE|MODE|METHOD|ENABLED
    |REQUIRED|POLICY|ALGORITHM|FORMAT|VERSION|MODEL|ENV|PARAMETER|ALIAS|ARN|BACKEND|PROVIDER|STORE|IP|USER|USERNAME)$""",
    re.VERBOSE,
)

_FILLED_IN_LATER = re.compile(r"\{\{.*?\}\}|\$\{\w+\}|\$\w+$", re.DOTALL)
_BLOCK = re.compile(r"\{\{\s*prefect\.blocks\.")
_FLAG = re.compile(r"(?i)true|false|yes|no|on|off|none|null")
_WHERE_IT_IS = re.compile(r"arn:|vault:|projects/[^/]+/secrets/")
"""What begins so is the address of a secret in a store."""
_NAMED_RANDOM = re.compile(r"(?i)\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(sha\d+|md5):[0-9a-f]+")
_NO_SECRET = re.compile(r"[/~.]|[A-Za-z]:\\|\w+://")
_KNOWN = re.compile(
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
_LONG, _LONG_AND_SUSPICIOUS = 20, 12
_SHORTEST = 4
"""What is shorter stands in any text by chance."""
_RESTLESS = 0.25


def looks_secret(name: str, value: object) -> bool:
    """Return whether a value is one that must not be shown.

    A name counts by its words: `DB_PASSWORD` and `apiKey`, but neither `KEYBOARD` nor `TOKEN_URL`. A value counts
    by what only secrets look like: known prefixes, private keys, passwords in addresses, long random text. What is
    filled in later is none: `{{ prefect.blocks... }}`, `${VARIABLE}`.

    Args:
        name: Name of a variable or a parameter; of a dotted path the last part counts, and of a default what has it.
        value: Text or a number; nothing else is secret.
    """
    return not isinstance(value, bool) and isinstance(value, str | int) and _looks_secret(name, str(value))


@lru_cache(maxsize=10_000)  # most values are those of many deployments
def _looks_secret(name: str, value: str) -> bool:
    text = _FILLED_IN_LATER.sub("", value).strip()
    name = name.removesuffix(".default").rpartition(".")[2]
    name = "_".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)).upper()
    if not text or _FLAG.fullmatch(text):
        return False
    longest = _LONG_AND_SUSPICIOUS if _SUSPICIOUS.search(name) else _LONG
    random = not _OPEN.search(name) and any(_is_random(part, longest) for part in re.split(r"[\s,;|]+", text))
    named = _SECRET.search(name) or (_SHORT_PASSWORD.search(name) and not text.isdecimal())
    only_about_it = _ABOUT_A_SECRET.search(name) or _WHERE_IT_IS.match(text)
    return bool(_KNOWN.search(text)) or random or (bool(named) and not only_about_it)


def plain_secrets(document: Document, allowed: Collection[str] = ()) -> Iterator[Diagnostic]:
    """Say which values of a document are secrets in plain text, at any depth.

    Args:
        document: What is stated.
        allowed: Dotted paths of values that are no secrets, as `allow_plain` names them.
    """
    for path, value in leaves(document.data):
        names = [part for part in path if isinstance(part, str)]
        if "base_job_template" in path and names[-1] in ("title", "description"):  # words about a variable
            continue
        dotted = ".".join(map(str, path)).replace("default_parameters.", "parameters.")
        if any(dotted == at or dotted.endswith(f".{at}") for at in allowed):
            continue
        if any(looks_secret(".".join(names), item) for item in (value if isinstance(value, list) else (value,))):
            code = "MF303" if {"parameters", "default_parameters"}.intersection(path) else "MF301"
            key = ".".join(names).removesuffix(".default").rpartition(".")[2]
            yield diagnostic(code, document.place(path), key=key, block=kebab(key), path=dotted)


def masked(name: str, value: Any) -> Any:
    """The value with whatever looks like a secret in it replaced by a mask."""
    if isinstance(value, Mapping):
        return {key: masked(f"{name}.{key}", inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(name, inner) for inner in value]
    return MASK if looks_secret(name, value) else value


def masked_pair(name: str, old: Any, new: Any) -> tuple[Any, Any]:
    """Return a value and the one that replaces it, without secrets.

    What takes the place of a reference to a block, or gives its place to one, is a secret whatever its name and looks.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        pairs = {key: masked_pair(f"{name}.{key}", old.get(key), new.get(key)) for key in (*old, *new)}
        return {key: pairs[key][0] for key in old}, {key: pairs[key][1] for key in new}
    if isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        each = [masked_pair(name, before, after) for before, after in zip(old, new, strict=True)]
        return [before for before, _ in each], [after for _, after in each]
    if _refers_to_block(old) or _refers_to_block(new):
        return _without_plain(old), _without_plain(new)
    return masked(name, old), masked(name, new)


def _refers_to_block(value: Any) -> bool:
    if isinstance(value, Mapping | list | tuple):
        return any(map(_refers_to_block, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, str) and bool(_BLOCK.search(value))


def _without_plain(value: Any) -> Any:
    """Mask all of a value but references to blocks."""
    if isinstance(value, Mapping):
        return {key: _without_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_plain(inner) for inner in value]
    return value if value is None or _refers_to_block(value) else MASK


def without_secrets(text: str, sent: Any, name: str = "") -> str:
    """Return a text with every secret in it masked that stands in what was sent, such as the body of a request."""
    if isinstance(sent, Mapping):
        for key, value in sent.items():
            text = without_secrets(text, value, f"{name}.{key}")
    elif isinstance(sent, list | tuple):
        for value in sent:
            text = without_secrets(text, value, name)
    elif looks_secret(name, sent):
        for shown in {str(sent), json.dumps(str(sent))[1:-1], repr(str(sent))[1:-1]}:
            text = text.replace(shown, MASK) if len(shown) >= _SHORTEST else text
    return text


def _is_random(text: str, longest: int) -> bool:
    """Whether letters and digits alternate as in no word, date or version; addresses and paths do not count."""
    if _NO_SECRET.match(text):
        return False
    for part in re.split(r"[-_.:]", _NAMED_RANDOM.sub("", text)):
        changes = re.findall(r"[a-z](?=[A-Z0-9])|[A-Z](?=[0-9])|[0-9](?=[A-Za-z])", part)
        mixed = any(map(str.isdigit, part)) and any(map(str.isalpha, part))
        if len(part) >= longest and mixed and len(changes) >= _RESTLESS * len(part):
            return True
    return False
