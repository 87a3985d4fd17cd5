"""The base of every group of options."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen group of options that refuses names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")
