"""`serve` loads the configuration, says that it is unencrypted, and ends with the supervisor's code."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from mitschnitt.commands import serve
from mitschnitt.config import Config, parse_config
from mitschnitt.errors import ConfigError


class Supervised:
    """Stands for the supervisor; remembers its configuration."""

    seen: Config | None = None

    def __init__(self, config: Config) -> None:
        Supervised.seen = config

    async def run(self) -> int:
        """The code of a part that refused."""
        return 2


def test_the_directorys_configuration_is_served_and_said_to_be_unencrypted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text("[sip]\nport = 15099\n", encoding="utf-8")
    monkeypatch.setattr(serve, "Supervisor", Supervised)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        assert serve.run(tmp_path) == 2
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert Supervised.seen is not None
    assert Supervised.seen.sip.port == 15099
    told = json.loads(capsys.readouterr().err)
    assert told["event"].startswith("SIP 127.0.0.1:15099 (udp, tcp), unencrypted")
    assert told["part"] == "serve"


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "SIP 127.0.0.1:5060 (udp, tcp), unencrypted; RTP unencrypted"),
        ("tls_port = 5061", "(udp, tcp), unencrypted and 127.0.0.1:5061 (tls, certificates on both sides); RTP"),
        ("plain = false\ntls_port = 5061", "SIP 127.0.0.1:5061 (tls, certificates on both sides); RTP unencrypted"),
    ],
)
def test_what_is_protected_and_what_is_not_is_said(text: str, said: str, tmp_path: Path) -> None:
    assert said in serve.announced(parse_config(f"[sip]\n{text}\n", tmp_path))


def test_without_a_directory_nothing_is_served(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`mitschnitt init DIR` makes one"):
        serve.run(tmp_path / "nowhere")
