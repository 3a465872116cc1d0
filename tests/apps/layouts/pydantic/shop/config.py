from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Config(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="shop_", env_file=".env", extra="ignore")

    debug: bool = True
    secret_key: str
    allowed_hosts: list[str] = []
    database: Path = Field(default=Path("db.sqlite3"), validation_alias="SHOP_DB")


config = Config()
