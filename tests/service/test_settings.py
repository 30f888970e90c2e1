"""Settings from flags, variables and files; wrong ones are named in one line."""

from pathlib import Path

import pytest

from service.settings import Settings, SettingsError, load_settings, read_api_keys


def test_flags_win_over_variables_and_these_over_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    default = Settings.model_fields["queue_limit"].default
    assert (load_settings().port, load_settings().queue_limit) == (8000, default)
    monkeypatch.setenv("HRM_PORT", "9000")
    monkeypatch.setenv("HRM_QUEUE_LIMIT", "")
    assert (load_settings().port, load_settings().queue_limit) == (9000, default)
    assert load_settings(port="9001").port == 9001


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("HRM_PORT", "99999", "HRM_PORT: input should be less than or equal to 65535, not '99999'"),
        ("HRM_PRECISION", "fp8", "HRM_PRECISION: input should be 'auto', 'fp32' or 'bf16', not 'fp8'"),
        ("HRM_DEVICE", "gpu", "HRM_DEVICE: must be auto, cpu, mps, cuda or cuda:N, not 'gpu'"),
        ("HRM_REDIS_URL", "http://:pass@x", "HRM_REDIS_URL: must start with redis://, rediss:// or unix://"),
        ("HRM_API_KEYS", "a:1,a:2", "HRM_API_KEYS: entry 2 repeats an earlier one's name or key"),
        ("HRM_API_KEYS", "a:1,b:", "HRM_API_KEYS: entry 2 must be `name:key` or `key`"),
        (
            "HRM_API_KEYS",
            "al:1,al:ci:2",
            "HRM_API_KEYS: entry 2 must be `name:key` or `key`, with no other colon in it",
        ),
        ("HRM_API_KEYS", " , ", "HRM_API_KEYS: holds no key; leave it empty where none is asked for"),
        ("HRM_TIMEOUT_DEFAULT_S", "900", "HRM_TIMEOUT_DEFAULT_S is above HRM_TIMEOUT_MAX_S"),
        ("HRM_ADMIN_KEY_FILE", "/nowhere", "HRM_ADMIN_KEY_FILE: cannot read /nowhere: No such file or directory"),
    ],
)
def test_a_wrong_value_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert str(error.value) == message


def test_a_wrong_flag_is_called_by_its_name() -> None:
    with pytest.raises(SettingsError, match=r"^--queue-limit: input should be greater than or equal to 1, not '0'$"):
        load_settings(queue_limit="0")


def test_secrets_may_lie_in_files_and_never_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "keys"
    secret.write_text("alice: one\nbob:two\n")
    monkeypatch.setenv("HRM_API_KEYS_FILE", str(secret))
    settings = load_settings()
    assert settings.keys == {"alice": "one", "bob": "two"}
    assert "two" not in repr(settings)
    monkeypatch.setenv("HRM_API_KEYS", "x")
    with pytest.raises(SettingsError, match="HRM_API_KEYS and HRM_API_KEYS_FILE are both set"):
        load_settings()


@pytest.mark.parametrize("name", ["HRM_API_KEYS_FILE", "HRM_ADMIN_KEY_FILE", "HRM_REDIS_URL_FILE"])
def test_a_secret_that_was_not_filled_in_opens_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "secret").write_text(" \n")
    monkeypatch.setenv(name, str(tmp_path / "secret"))
    with pytest.raises(SettingsError, match=f"^{name}: {tmp_path}/secret is empty$"):
        load_settings()


def test_an_empty_variable_asks_for_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HRM_API_KEYS", "")
    assert load_settings().keys == {}


def test_a_key_without_a_name_is_called_after_its_hash() -> None:
    assert list(read_api_keys("secret")) == ["key-2bb80d537b1d"]


def test_every_setting_says_when_to_change_it() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
