"""Brings a database to the newest shape; makes one only where it is told to. Knows no data."""

from __future__ import annotations

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from mitschnitt.errors import ConfigError

STEPS = "mitschnitt.store:migrations"  # package data, found wherever the package is installed


def _configuration() -> AlembicConfig:
    configuration = AlembicConfig()
    configuration.set_main_option("script_location", STEPS)
    configuration.set_main_option("path_separator", "os")
    return configuration


def newest_version() -> str:
    """The version that this program writes."""
    head = ScriptDirectory.from_config(_configuration()).get_current_head()
    if head is None:
        raise ConfigError("store: the package contains no migration; it is damaged")
    return head


def database_version(engine: Engine) -> str | None:
    """The version of a database, None when it was never upgraded."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine) -> str:
    """Run the missing steps in one transaction; the version after it.

    ConfigError for a database that a newer program wrote. A crash leaves the old shape whole.
    """
    found, newest = database_version(engine), newest_version()
    known = {step.revision for step in ScriptDirectory.from_config(_configuration()).walk_revisions()}
    if found is not None and found not in known:
        raise ConfigError(f"store: the database has version {found}; this program knows up to {newest}")
    configuration = _configuration()
    with engine.begin() as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "head")
    return newest
