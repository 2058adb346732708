"""Where every setting comes from: flags, environment, files and defaults."""

from keypool_cli.config.loading import load, misspelt
from keypool_cli.config.master_key import (
    KEY_FILE,
    ensure_home,
    has_master_key,
    master_key,
    sync_folder,
)
from keypool_cli.config.settings import SETTING_NAMES, Settings
from keypool_cli.config.urls import is_loopback, masked_url

__all__ = [
    "KEY_FILE",
    "SETTING_NAMES",
    "Settings",
    "ensure_home",
    "has_master_key",
    "is_loopback",
    "load",
    "masked_url",
    "master_key",
    "misspelt",
    "sync_folder",
]
