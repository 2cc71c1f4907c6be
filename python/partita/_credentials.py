"""URLs and options of stores that may travel: names of secrets, not secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from partita import _native
from partita._arguments import options_text
from partita.errors import InvalidArgument

__all__ = ["WithoutSecrets", "carried", "referenced", "resolved"]

_REFERENCE = "env:"
_PREFIXES = ("aws_", "google_", "azure_", "azure_storage_")
_SECRETS = {
    "access_key",
    "account_key",
    "bearer_token",
    "client_secret",
    "key",
    "master_key",
    "password",
    "sas_key",
    "sas_token",
    "secret",
    "sse_customer_key_base64",
    "secret_access_key",
    "service_account_key",
    "session_token",
    "storage_account_key",
    "storage_sas_key",
    "storage_sas_token",
    "storage_token",
    "token",
}


class WithoutSecrets(dict[str, Any]):
    """Options that lose their secrets when they are pickled.

    Examples
    --------
    >>> import pickle
    >>> options = WithoutSecrets({"region": "eu-north-1", "secret_access_key": "hush"})
    >>> pickle.loads(pickle.dumps(options))
    {'region': 'eu-north-1'}
    """

    def __reduce__(self) -> tuple[Any, ...]:
        kept = {name: value for name, value in self.items() if not _is_secret(name)}
        texts = {name: _without_user(v) for name, v in kept.items() if isinstance(v, str)}
        return dict, ({**kept, **texts},)


def carried(url: str, options: Mapping[str, Any]) -> str:
    """The URL that a pickle carries: without user and password beside options without secrets.

    Examples
    --------
    >>> carried("https://user:hush@lake.example/t", WithoutSecrets())
    'https://lake.example/t'
    """
    return _without_user(url) if isinstance(options, WithoutSecrets) else url


def _without_user(url: str) -> str:
    return _native.masked(url).replace("://***@", "://", 1)


def referenced(options: Mapping[str, Any] | None) -> tuple[tuple[str, str], ...]:
    """Options with every secret by reference: ``env:NAME``, the variable that holds it.

    A secret that is given as it is, and that stands in a variable of the environment too, becomes
    a reference to that variable.

    Examples
    --------
    >>> referenced({"region": "eu-north-1", "secret_access_key": "env:LAKE_SECRET"})
    (('region', 'eu-north-1'), ('secret_access_key', 'env:LAKE_SECRET'))
    """
    return tuple(sorted((n, _reference(n, v)) for n, v in options_text(options).items()))


def resolved(options: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The options with the values of the variables that they name, in this process.

    Examples
    --------
    >>> import os
    >>> os.environ["LAKE_REGION"] = "eu-north-1"
    >>> resolved((("region", "env:LAKE_REGION"),))
    {'region': 'eu-north-1'}
    """
    found = {}
    for option, value in options:
        if value.startswith(_REFERENCE):
            variable = value[len(_REFERENCE) :]
            if variable not in os.environ:
                raise InvalidArgument(
                    f"storage option {option} is to come from the environment variable {variable}, "
                    "which is not set in the process that opens the table",
                    context={"option": option, "variable": variable},
                )
            value = os.environ[variable]
        found[option] = value
    return found


def _reference(option: str, value: str) -> str:
    is_secret = _is_secret(option) or _without_user(value) != value
    if value.startswith(_REFERENCE) or not is_secret:
        return value
    for variable, held in sorted(os.environ.items()):
        if held == value and variable.lower().startswith(_PREFIXES):
            return f"{_REFERENCE}{variable}"
    raise InvalidArgument(
        f"storage option {option} is a secret, and would travel in every task; set it as an "
        f"environment variable of the workers, and pass {option!r}: 'env:NAME'",
        context={"option": option},
    )


def _is_secret(option: str) -> bool:
    name = option.lower()
    for prefix in _PREFIXES:
        if name.startswith(prefix) and name[len(prefix) :] in _SECRETS:
            return True
    return name in _SECRETS
