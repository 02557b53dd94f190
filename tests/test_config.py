"""Settings: defaults that need nothing, sentences that name the culprit, and a live mode that cannot start by accident."""

from pathlib import Path

import pytest

from app.config import MASK, Settings, describe, load_settings, unknown_settings, vocabulary
from app.errors import ConfigError

LIVE = {
    "CARDRAIL_LIVEMODE": "true",
    "STRIPE_API_KEY": "rk_live_abc",
    "STRIPE_WEBHOOK_SECRETS": "whsec_real",
}


def refusal(env: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as refused:
        load_settings(env)
    return refused.value.message


def test_an_empty_environment_means_the_sandbox_and_the_embedded_database() -> None:
    settings = load_settings({})
    assert settings.database_url is None
    assert settings.uses_sandbox
    assert settings.api_base == "http://127.0.0.1:12111"
    assert settings.platform_account_id == "acct_platform_sandbox"
    assert settings.platform_financial_account_id == "fa_test_platform"
    assert settings.stripe_api_version == "2026-10-14.preview"
    assert settings.webhook_secrets == settings.valid_authorization_secrets == ("whsec_sandbox",)
    assert not settings.livemode


def test_an_empty_variable_counts_as_absent() -> None:
    assert load_settings({"DATABASE_URL": "", "STRIPE_API_KEY": " ", "CARDRAIL_PORT": ""}) == load_settings({})


def test_variables_of_others_are_left_alone() -> None:
    assert load_settings({"PATH": "/bin", "HOST": "elsewhere"}) == load_settings({})


def test_a_key_of_ones_own_means_stripe_itself_and_no_assumed_platform() -> None:
    settings = load_settings({"STRIPE_API_KEY": "sk_test_mine", "STRIPE_WEBHOOK_SECRETS": "whsec_a"})
    assert settings.api_base == "https://api.stripe.com"
    assert not settings.uses_sandbox
    assert settings.platform_account_id is None
    assert settings.platform_financial_account_id is None


def test_a_stripe_on_this_machine_may_keep_the_sandbox_key() -> None:
    settings = load_settings({"STRIPE_API_BASE": "http://127.0.0.1:9999/"})
    assert settings.api_base == "http://127.0.0.1:9999"
    assert settings.platform_account_id is None


def test_several_secrets_are_valid_at_once() -> None:
    settings = load_settings({"STRIPE_WEBHOOK_SECRETS": "whsec_a, whsec_b", "STRIPE_AUTHORIZATION_SECRETS": "whsec_c"})
    assert settings.webhook_secrets == ("whsec_a", "whsec_b")
    assert settings.valid_authorization_secrets == ("whsec_c",)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@h/db",
        "postgres://h/db",
        "postgresql+asyncpg://h/db",
        "postgresql://postgres@/db?host=/run/pg",
        "postgresql://a:5432,b:5432/db?target_session_attrs=read-write",
    ],
)
def test_every_form_of_a_postgres_url_is_taken(url: str) -> None:
    assert load_settings({"DATABASE_URL": url}).database_url == url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://h/db"),
        ("STRIPE_API_BASE", "api.stripe.com"),
        ("STRIPE_API_VERSION", "latest"),
        ("STRIPE_API_VERSION", "2026-13-41.preview"),
        ("STRIPE_WEBHOOK_SECRETS", "whsec_a,,whsec_b"),
        ("PLATFORM_ACCOUNT_ID", "platform"),
        ("PLATFORM_FINANCIAL_ACCOUNT_ID", "acct_1"),
        ("CARDRAIL_PORT", "http"),
        ("CARDRAIL_PORT", "70000"),
        ("CARDRAIL_LIVEMODE", "perhaps"),
        ("CARDRAIL_LOG_LEVEL", "loud"),
        ("CARDRAIL_AUTHORIZATION_DEADLINE_MS", "2500"),
        ("CARDRAIL_PROGRAMME", "no/such/programme.toml"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    assert name in refusal({name: value})


def test_every_wrong_setting_is_named_at_once() -> None:
    sentence = refusal({"CARDRAIL_PORT": "x", "CARDRAIL_POOL_SIZE": "y"})
    assert "CARDRAIL_PORT" in sentence
    assert "CARDRAIL_POOL_SIZE" in sentence


def test_a_refusal_never_shows_a_secret() -> None:
    assert "hunter2" not in refusal({"DATABASE_URL": "mysql://u:hunter2@h/db"})


def test_a_programme_file_that_exists_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "programme.toml"
    file.touch()
    assert load_settings({"CARDRAIL_PROGRAMME": str(file)}).programme_file == file


def test_live_mode_starts_with_real_keys() -> None:
    assert load_settings(LIVE).livemode


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        ({"STRIPE_API_KEY": ""}, "STRIPE_API_KEY"),
        ({"STRIPE_API_KEY": "sk_test_mine"}, "STRIPE_API_KEY"),
        ({"STRIPE_API_KEY": "sk_test_sandbox"}, "STRIPE_API_KEY"),
        ({"STRIPE_WEBHOOK_SECRETS": ""}, "STRIPE_WEBHOOK_SECRETS"),
        ({"STRIPE_WEBHOOK_SECRETS": ","}, "STRIPE_WEBHOOK_SECRETS"),
        ({"STRIPE_WEBHOOK_SECRETS": "whsec_real,whsec_sandbox"}, "STRIPE_WEBHOOK_SECRETS"),
        ({"STRIPE_AUTHORIZATION_SECRETS": "whsec_sandbox"}, "STRIPE_AUTHORIZATION_SECRETS"),
        ({"STRIPE_API_BASE": "http://proxy.internal"}, "STRIPE_API_BASE"),
    ],
)
def test_live_mode_never_starts_with_what_is_empty_or_known_to_all(change: dict[str, str], culprit: str) -> None:
    assert culprit in refusal(LIVE | change)


def test_a_live_key_needs_live_mode() -> None:
    assert "CARDRAIL_LIVEMODE" in refusal(LIVE | {"CARDRAIL_LIVEMODE": "false"})


@pytest.mark.parametrize(
    "env",
    [{"STRIPE_API_KEY": "sk_test_mine"}, {"STRIPE_API_BASE": "http://stripe.internal", "STRIPE_API_KEY": "sk_test_a"}],
)
def test_a_stripe_elsewhere_needs_a_webhook_secret(env: dict[str, str]) -> None:
    assert "STRIPE_WEBHOOK_SECRETS is missing" in refusal(env)


@pytest.mark.parametrize(
    ("version", "configuration", "old_address"),
    [
        ("2026-06-10.preview", "storer", True),
        ("2026-06-24.preview", "money_manager", True),
        ("2026-08-26.preview", "money_manager", True),
        ("2026-09-16.preview", "money_manager", False),
        ("2026-10-14.preview", "money_manager", False),
    ],
)
def test_the_version_decides_the_vocabulary(version: str, configuration: str, old_address: bool) -> None:
    assert vocabulary(version) == (configuration, old_address)


def test_a_misspelled_variable_is_found() -> None:
    assert unknown_settings({"CARDRAIL_PROT": "1", "CARDRAIL_PORT": "1", "PATH": ""}) == ["CARDRAIL_PROT"]


def test_a_change_is_checked_again() -> None:
    settings = load_settings({})
    assert settings.but(port=9).port == 9
    with pytest.raises(ConfigError, match="CARDRAIL_PORT"):
        settings.but(port=-1)


def test_the_description_covers_every_setting_and_masks_secrets() -> None:
    rows = {row.name: row for row in describe(load_settings(LIVE | {"DATABASE_URL": "postgresql://u:hunter2@h/db"}))}
    assert len(rows) == len(Settings.model_fields)
    assert all(row.doc.endswith(".") for row in rows.values())
    assert rows["STRIPE_API_KEY"].value == rows["DATABASE_URL"].value == MASK
    assert rows["CARDRAIL_PORT"] == ("CARDRAIL_PORT", rows["CARDRAIL_PORT"].doc, "8000", "8000", True)
    assert rows["CARDRAIL_LIVEMODE"].value == "true"
    assert not rows["CARDRAIL_LIVEMODE"].is_default
    assert "hunter2" not in str(rows)


def test_settings_show_no_secret_when_printed() -> None:
    settings = load_settings(LIVE | {"DATABASE_URL": "postgresql://u:hunter2@h/db", "CARDRAIL_ADMIN_KEY": "hush"})
    assert not any(secret in repr(settings) for secret in ("hunter2", "rk_live_abc", "whsec_real", "hush"))
