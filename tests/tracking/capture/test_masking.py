"""What must not be recorded: secrets in command lines, variables and texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineart.storage.masking import mask_address, masked_values, masked_variables, names_secret
from lineart.tracking.capture import capture_environment, mask_text, masked


@pytest.mark.parametrize(
    "arguments, shown",
    [
        (["--api-key", "abc"], ["--api-key", "***"]),
        (["--api_key=abc"], ["--api_key=***"]),
        (["--apikey=abc"], ["--apikey=***"]),
        (["--wandbApiKey=abc"], ["--wandbApiKey=***"]),
        (["-password", "abc"], ["-password", "***"]),
        (["--db-password=a=b=c"], ["--db-password=***"]),
        (["--hf-token", "abc", "rest"], ["--hf-token", "***", "rest"]),
        (["TOKEN=abc"], ["TOKEN=***"]),
        (["AWS_SECRET_ACCESS_KEY=abc"], ["AWS_SECRET_ACCESS_KEY=***"]),
        (["--secret", "--looks-like-a-flag"], ["--secret", "***"]),
        (["--secret", "x", "--token", "y"], ["--secret", "***", "--token", "***"]),
        (["--token=line one\nline two"], ["--token=***"]),
        (["--credentials-file=/x"], ["--credentials-file=***"]),
        (["optimizer.passwd=abc"], ["optimizer.passwd=***"]),
        (["+logger.token=abc"], ["+logger.token=***"]),
        (["--env=TOKEN=abc"], ["--env=TOKEN=***"]),
        (["-c", "train --a --token x"], ["-c", "train --a --token ***"]),
        (["--db", "postgres://ada:pa/ss@db:5432/x"], ["--db", "postgres://***@db:5432/x"]),
        (["--url=https://h/x?sig=abc&page=2"], ["--url=https://h/x?sig=***&page=2"]),
        (["-c", "export TOKEN=abc; train"], ["-c", "export TOKEN=***; train"]),
        (["-c", "train --password 'a b' x"], ["-c", "train --password '***' x"]),
        (['{"lr": 1, "api_key": "a\\"b"}'], ['{"lr": 1, "api_key": "***"}']),
        (["Authorization: Basic YTpi"], ["Authorization: ***"]),
        (["use sk-abcdefghijkl now"], ["use *** now"]),
    ],
)
def test_value_that_looks_like_a_secret_is_masked(arguments: list[str], shown: list[str]) -> None:
    assert masked(arguments) == shown


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["train.py", "--lr=0.1"],
        ["--tokenizer", "bert"],
        ["--max-tokens=512"],
        ["--sort-key", "name"],
        ["--author=ada"],
        ["a=b"],
        ["--", "x"],
        ["token", "x"],
        ["--lr", "0.1"],
        [""],
        ["="],
        ["https://example.org:80/a@b"],
        ["s3://bucket/data?versionId=3"],
    ],
)
def test_what_is_no_secret_stays(arguments: list[str]) -> None:
    assert masked(arguments) == arguments


SECRET_NAMES = """
    TOKEN HFTOKEN DB_PASS DB_PWD PASSWORD1 SENTRY_DSN SESSION_COOKIE SSH_KEY KEY OPENAI_API_KEY client_secret NPM_AUTH
    JWT
    LINEART_ALERTS GOOGLE_APPLICATION_CREDENTIALS AZURE_STORAGE_CONNECTION_STRING SLACK_WEBHOOK_URL authToken
"""
PLAIN_NAMES = (
    "PATH PWD OLDPWD KEYBOARD TOKENIZERS_PARALLELISM GIT_AUTHOR_NAME primary_key keyFrames SIGNAL max_tokens"
)


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_name_of_a_secret_is_known(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize("name", PLAIN_NAMES.split())
def test_name_of_no_secret_is_left(name: str) -> None:
    assert not names_secret(name)


SECRETS = [
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_0123456789abcdefghij",
    "github_pat_11ABCDEFG0123456789",
    "glpat-0123456789abcdefghij",
    "sk-proj-0123456789abcdef",
    "xoxb-0123456789-abcdef",
    "hf_0123456789abcdefghij",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "AIzaSyA0123456789abcdefghijklmnopqrstuv",
    "123456789:AAabcdefghijklmnopqrstuvwxyz0123456",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_well_known_token_is_masked_under_any_name(secret: str) -> None:
    for text in (secret, f"run with {secret}, please", f'"{secret}"', f"x_{secret}"):
        assert secret not in mask_text(text)
        assert secret not in capture_environment({"PLAIN": text})["PLAIN"]


@given(st.lists(st.text(max_size=10)))
def test_masking_changes_no_number_of_arguments(arguments: list[str]) -> None:
    assert len(masked(arguments)) == len(arguments)


@given(
    st.sampled_from(["password", "TOKEN", "api-key", "Secret", "credential", "auth", "COOKIE", "dsn"]),
    st.text(min_size=8, alphabet=st.characters(exclude_categories=("Cs",))),
)
def test_secret_never_comes_through(name: str, secret: str) -> None:
    marked = f"<{secret}>"
    for arguments in (
        [f"--{name}={marked}"],
        [f"--{name}", marked],
        [f"-{name}", marked],
        [f"my_{name}={marked}"],
    ):
        assert marked not in "".join(masked(arguments))


@given(
    st.sampled_from(
        ["MY_TOKEN", "SECRET", "DB_PASSWORD", "API_KEY", "AWS_CREDENTIALS", "X_AUTH", "COOKIES", "RAVEN_DSN"]
    ),
    st.text("abcXYZ0123456789+=_.:@", min_size=8),
    st.sampled_from(["{}", "curl -H {}", "a={}&b=2", "{}{}"]),
)
def test_secret_of_one_variable_shows_in_no_other(name: str, secret: str, text: str) -> None:
    shown = capture_environment({name: secret, "COMMAND": text.format(secret, secret), "LANG": "C"})
    assert shown[name] == "***"
    assert secret not in shown["COMMAND"]
    assert shown["LANG"] == "C"


@given(
    st.sampled_from(["https", "postgres", "s3", "redis+tls"]),
    st.text("abc", min_size=0, max_size=3),
    st.text("xyz019-_.~%!$*+:@/?#", min_size=6).map(lambda s: f"p{s}"),
)
def test_password_in_a_url_never_comes_through(scheme: str, user: str, password: str) -> None:
    shown = mask_text(f"{scheme}://{user or 'u'}:{password}@example.org/x")
    assert password not in shown
    assert "example.org/x" in shown


@given(st.text(max_size=200))
def test_masking_twice_changes_nothing_more(text: str) -> None:
    assert mask_text(mask_text(text)) == mask_text(text)


def test_masking_a_long_text_takes_no_long_time() -> None:
    for text in (
        "a" * 200_000,
        "://" * 50_000,
        '"a' * 50_000,
        "-----BEGIN PRIVATE KEY-----" * 5_000,
        "--a " * 50_000,
    ):
        mask_text(text)


def test_empty_value_is_shown_as_empty() -> None:
    assert masked_variables({"TOKEN": "", "HOME": "/home/ada"}) == {"TOKEN": "", "HOME": "/home/ada"}


@pytest.mark.parametrize(
    "address, shown",
    [
        ("s3://key:secret@bucket/x", "s3://bucket/x"),
        ("https://host/x?X-Amz-Credential=AK&X-Amz-Signature=ab&versionId=3", None),
        ("https://host/x?versionId=3", "https://host/x?versionId=3"),
        ("hf://datasets/ylecun/mnist@ab12/train.parquet", "hf://datasets/ylecun/mnist@ab12/train.parquet"),
        ("git+ssh://git@host/x", "git+ssh://git@host/x"),
        ("ssh://git:secret@host/x", "ssh://host/x"),
        ("data/a.csv", "data/a.csv"),
    ],
)
def test_address_has_no_secrets(address: str, shown: str | None) -> None:
    expected = "https://host/x?X-Amz-Credential=***&X-Amz-Signature=***&versionId=3"
    assert mask_address(address) == (shown or expected)


def test_values_below_the_name_of_a_secret_are_masked_at_any_depth() -> None:
    given = {
        "lr": 0.1,
        "servers": [{"name": "a", "auth": {"user": "ada", "pin": 1234}}],
        "use_token": True,
        "token": None,
        "secret": "",
        "url": "https://ada:hunter2@host",
        "api_key": "k-123456789",
        "command": "curl k-123456789",
    }
    assert masked_values(given) == {
        "lr": 0.1,
        "servers": [{"name": "a", "auth": {"user": "***", "pin": "***"}}],
        "use_token": True,
        "token": None,
        "secret": "",
        "url": "https://***@host",
        "api_key": "***",
        "command": "curl ***",
    }
