"""Settings come from four places in a stated order, and every fault is named with its source."""

from pathlib import Path

import pytest

from autocity import config


def test_later_sources_win_and_origins_are_known(tmp_path: Path) -> None:
    file = tmp_path / "autocity.toml"
    file.write_text("[server]\nport = 1\nhost = '10.0.0.1'\nworkers = 2\n")
    settings = config.load(
        file=file,
        environment={"AUTOCITY_SERVER__PORT": "2", "AUTOCITY_SERVER__HOST": "10.0.0.2", "PATH": "/bin"},
        flags={"server.port": 3, "server.workers": None},
    )
    assert (settings.server.port, settings.server.host, settings.server.workers) == (3, "10.0.0.2", 2)
    assert settings.origins["server.port"] == "flag --port"
    assert settings.origins["server.host"] == "environment AUTOCITY_SERVER__HOST"
    assert settings.origins["server.workers"] == str(file)
    assert settings.origins["store.url"] == "default"


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "autocity.toml"
    file.write_text("[server]\nprot = 1\n")
    with pytest.raises(config.SettingsError) as caught:
        config.load(
            file=file,
            environment={"AUTOCITY_SERVER__WORKERS": "many", "AUTOCITY_STORE__URL": "oracle://x"},
            flags={"server.port": 70000},
        )
    told = str(caught.value)
    assert f"{file}: server.prot is not a setting; did you mean server.port?" in told
    assert "environment AUTOCITY_SERVER__WORKERS: server.workers = 'many'" in told
    assert "server.port must be 0 to 65535" in told
    assert "store.url must be" in told


def test_a_file_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(config.SettingsError, match="no such file"):
        config.load(file=tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[server\n")
    with pytest.raises(config.SettingsError, match="not valid TOML"):
        config.load(file=broken)


def test_a_secret_is_read_from_its_file(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://city@db/city\n")
    settings = config.load(environment={"AUTOCITY_STORE__URL": f"file:{secret}"})
    assert settings.store.url == "postgresql://city@db/city"
    with pytest.raises(config.SettingsError, match=r"store\.url points at"):
        config.load(environment={"AUTOCITY_STORE__URL": "file:/nowhere/at/all"})


def test_memory_serves_one_process() -> None:
    with pytest.raises(config.SettingsError, match="serves one process"):
        config.load(flags={"store.url": "memory", "server.workers": 2})


def test_every_setting_says_what_it_means() -> None:
    assert set(config.describe()) == set(config.names())
