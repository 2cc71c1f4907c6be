"""Storage options that may travel in tasks: names of secrets, not secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from partita._arguments import options_text
from partita.errors import InvalidArgument

__all__ = ["WithoutSecrets", "referenced", "resolved"]

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
        return dict, ({name: value for name, value in self.items() if not _is_secret(name)},)


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
    if value.startswith(_REFERENCE) or not _is_secret(option):
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
