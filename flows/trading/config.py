"""What an environment sets for its runs: environment variables that begin with TRADING_, and Secret blocks."""

from typing import Annotated

from prefect.blocks.system import Secret
from pydantic import Field, HttpUrl, PositiveInt, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Symbol = Annotated[str, Field(pattern=r"^[A-Z]{1,5}(\.[A-Z]{1,2})?$")]
"""A share or fund as Polygon writes it, e.g. BRK.B; days and hours are those of the exchange in New York."""


class TradingSettings(BaseSettings):
    """Settings of all flows of this package; each is read from TRADING_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="TRADING_", frozen=True)

    symbols: Annotated[tuple[Symbol, ...], NoDecode] = ("AAPL", "MSFT")
    """What to follow, separated by blanks or commas."""
    database_url: SecretStr = SecretStr("sqlite:///flows/trading/output/trading.db?timeout=60")
    """Where everything is kept; `postgresql+psycopg://...` as well."""
    polygon_url: HttpUrl = HttpUrl("https://api.polygon.io")
    polygon_api_key: SecretStr | None = None
    """Goes before the block; for development and for `{{ prefect.blocks... }}` in a deployment."""
    polygon_api_key_block: str = "polygon-api-key"
    """Name of the Secret block that holds the key."""
    polygon_requests_per_minute: PositiveInt = 5
    """What the subscription allows; all runs on a Prefect server that use the same key share it."""
    yahoo_url: HttpUrl = HttpUrl("https://query2.finance.yahoo.com")
    dask_scheduler: str | None = None
    """Address of a Dask cluster; without one a distributed run starts a cluster on its own machine."""

    @field_validator("symbols", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def polygon_api_key(settings: TradingSettings) -> SecretStr:
    """Polygon's key: the setting, or else the Secret block.

    Raises:
        ValueError: There is neither.
    """
    if settings.polygon_api_key:
        return settings.polygon_api_key
    name = settings.polygon_api_key_block
    try:
        secret = Secret.load(name)
    except ValueError:
        raise ValueError(
            f"there is no API key for Polygon: create the Secret block '{name}', e.g. with "
            f"`prefect block create secret`, or set TRADING_POLYGON_API_KEY"
        ) from None
    return SecretStr(str(secret.get()))  # type: ignore[union-attr]  # a coroutine in async flows only
