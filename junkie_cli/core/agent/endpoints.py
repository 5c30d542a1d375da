"""Which model is asked at which address with which key: settings turned into endpoints. Loads nothing heavy."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from junkie_cli.core.errors import SettingsError
from junkie_cli.core.setting_values import is_local_address
from junkie_cli.core.settings import Settings
from junkie_cli.core.value_class import field, frozen

# A server without a key of its own ignores what it gets; the client cannot be made without one.
NO_KEY = "no-key"
REHEARSAL_URL = "http://rehearsal.invalid/v1"
COMPOUND = "groq/compound"


@frozen
class Endpoint:
    """One address of a provider: what is sent there, and which variables a person would have to change.

    `label` is for people and holds no secret; `*_variable` are the names to put into hints.
    """

    label: str
    url: str = field(repr=False)
    key: str = field(repr=False)
    url_variable: str = ""
    key_variable: str = ""
    key_source: str = ""
    is_groq: bool = False
    is_rehearsal: bool = False

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine or a private network."""
        return not self.is_rehearsal and is_local_address(self.url)

    @property
    def has_key(self) -> bool:
        """Whether a real key is sent."""
        return self.key != NO_KEY


@frozen
class Choice:
    """An endpoint and the model that is asked there; `model_variable` names the setting that chose it."""

    endpoint: Endpoint
    model: str
    model_variable: str


@frozen
class Choices:
    """What talks, and what turns talk into memories."""

    main: Choice
    memory: Choice


Offline: TypeAlias = bool | Literal["chat"]
"""Whether the rehearsal model takes the place of both models, or ("chat") only of the one that talks."""


# LM Studio (as loaded, then as possible), Groq, vLLM, OpenRouter and others, Mistral, LiteLLM.
_WINDOWS = (
    *("loaded_context_length", "context_window", "max_model_len", "context_length", "max_context_length"),
    *("max_input_tokens", "n_ctx"),
)


def window_of(row: Mapping[str, Any]) -> int | None:
    """The context window in a server's description of a model, in tokens; None where it names none."""
    meta = row.get("meta")  # llama.cpp's own; n_ctx_train in it is what the model was trained with
    found = {**(meta if isinstance(meta, dict) else {}), **row}
    sizes = (found.get(name) for name in _WINDOWS)
    return next((size for size in sizes if isinstance(size, int) and not isinstance(size, bool) and size >= 256), None)


def choose(settings: Settings, *, offline: Offline = False) -> Choices:
    """The main and the memory model of `settings`, or the rehearsal model in their places.

    Without a Groq key the memory model is the custom provider's: `CUSTOM_MODEL`, unless `MEMORY_MODEL` was set.
    Raises SettingsError (code `provider_missing`) when there is neither a key nor another provider.
    """
    rehearsal = Choice(_rehearsal(), "rehearsal", "")
    if offline == "chat":
        return Choices(rehearsal, choose(settings).memory)
    if offline:
        return Choices(rehearsal, rehearsal)
    if not settings.names_provider:
        raise SettingsError(
            "no model to talk to: GROQ_API_KEY is not set and CUSTOM_PROVIDER names no other server",
            hint="set GROQ_API_KEY (free at https://console.groq.com/keys), or set CUSTOM_PROVIDER to the base URL of "
            "a local server such as http://localhost:11434/v1, or use --offline for the built-in rehearsal model",
            code="provider_missing",
        )
    custom = _groq(settings) if settings.custom_provider == "groq" else _custom(settings)
    main = Choice(custom, settings.custom_model, "CUSTOM_MODEL")
    if settings.groq_api_key:
        return Choices(main, Choice(_groq(settings), settings.memory_model, "MEMORY_MODEL"))
    if settings.is_default("MEMORY_MODEL"):
        return Choices(main, main)
    return Choices(main, Choice(custom, settings.memory_model, "MEMORY_MODEL"))


def _groq(settings: Settings) -> Endpoint:
    own = settings.is_default("GROQ_BASE_URL")
    return Endpoint(
        label="Groq" if own else f"Groq at {_host(settings.groq_base_url)}",
        url=settings.groq_base_url,
        key=settings.groq_api_key,
        url_variable="GROQ_BASE_URL",
        key_variable="GROQ_API_KEY",
        key_source=str(settings.sources["GROQ_API_KEY"]),
        is_groq=True,
    )


def _custom(settings: Settings) -> Endpoint:
    return Endpoint(
        label=_host(settings.custom_provider),
        url=settings.custom_provider,
        key=settings.custom_provider_api_key or NO_KEY,
        url_variable="CUSTOM_PROVIDER",
        key_variable="CUSTOM_PROVIDER_API_KEY",
        key_source=str(settings.sources["CUSTOM_PROVIDER_API_KEY"]),
    )


def _rehearsal() -> Endpoint:
    return Endpoint(label="the rehearsal model", url=REHEARSAL_URL, key=NO_KEY, is_rehearsal=True)


def _host(url: str) -> str:
    """Host and port of `url`, without a user name and password that may stand in it."""
    return urlsplit(url).netloc.rpartition("@")[2] or url
