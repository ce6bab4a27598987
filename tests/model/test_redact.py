"""Credentials are taken out, and what stands for them compares."""

from __future__ import annotations

import pytest

from kdiag.model.redact import PREFIX, Redactor, names_a_secret

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJyb2JvdCJ9.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "name",
    ["DB_Password", "MYSQL_ROOT_PASSWORD", "API_KEY", "apiKey", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "DATABASE_URL",
     "redis-url", "PGPASSWORD", "SMTP_PASSWD", "SENTRY_DSN", "client_secret", "passphrase"],
)  # fmt: skip
def test_a_name_that_holds_a_credential_is_known(name: str) -> None:
    assert names_a_secret(name)


@pytest.mark.parametrize(
    "name", ["DB_HOST", "PATH", "TOKEN_TTL", "PASSWORD_FILE", "AUTH_URL", "LOG_LEVEL", "SECRET_NAME", "COMPASS"]
)
def test_a_setting_is_no_credential(name: str) -> None:
    assert not names_a_secret(name)


def test_equal_values_have_equal_tokens_within_a_run_and_no_longer() -> None:
    one, other = Redactor(), Redactor()
    assert one.token("hunter2") == one.token("hunter2") != one.token("hunter3")
    assert one.token("hunter2") != other.token("hunter2")
    assert one.token(one.token("hunter2")) == one.token("hunter2")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"Authorization: Bearer {JWT}", JWT),
        ("eyJhbGciOiJIUzI1NiIsImtpZCI6ImEifQ..kZ7wJ0iWnZq3x5u4b1v8", "kZ7wJ0iWnZq3x5u4b1v8"),
        ("connecting to postgres://app:s3cr3tpw@db:5432/x", "s3cr3tpw"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----", "MIIEow"),
        ("-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIcut short", "MHcCAQEE"),
        ("key AKIAIOSFODNN7EXAMPLE was used", "AKIAIOSFODNN7EXAMPLE"),
        ("mysqld --password=hunter22 started", "hunter22"),
        ('{"password":"hunter22"}', "hunter22"),
        ("GET /x?token=abcdef123456&y=1", "abcdef123456"),
        ("18:  user: {token: abcdef.0123456789abcdef, name: x}", "abcdef.0123456789abcdef"),
        (
            "  user: {client-key-data: 'LS0tLS1CRUdJTiBFQyBQUklWQVRFIEtFWS0tLS0tCk1I'}",
            "LS0tLS1CRUdJTiBFQyBQUklWQVRFIEtF",
        ),
    ],
)
def test_credentials_in_free_text_are_replaced(text: str, secret: str) -> None:
    shown = Redactor().text(text)
    assert secret not in shown
    assert PREFIX in shown


def test_ordinary_text_stays_as_it_is() -> None:
    assert Redactor().text("SyntaxError: Unexpected token: <html>") == "SyntaxError: Unexpected token: <html>"
    text = "Access denied for user 'root'@'10.244.1.3' (using password: YES)"
    assert Redactor().text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "    - name: DB_PASSWORD\n      value: hunter22",
        '{"name":"DB_PASSWORD","value":"hunter22"}',
        r"\"name\":\"DB_PASSWORD\",\"value\":\"hunter22\"}",
        '"key": "DB_PASSWORD",\n  "value": "hunter22"',
        "map[name:DB_PASSWORD value:hunter22]",
        "DB_PASSWORD=hunter22",
        "export DB_PASSWORD='hunter22 and more'",
        "Environment=DB_PASSWORD=hunter22",
        "      DB_PASSWORD:  hunter22",
        "  db.password: hunter22",
        'password = "hunter22"',
        "  TLS_SECRET: |\n    hunter22\n    more\n  next: x",
        "- name: TLS_SECRET\n  value: |\n    hunter22",
        "    - --password\n    - hunter22",
        "  token: hunter22",
        r'"password": "a\"hunter22"',
    ],
)
def test_credentials_in_what_a_command_prints_are_replaced(text: str) -> None:
    shown = Redactor().listing(text)
    assert "hunter22" not in shown
    assert PREFIX in shown
    assert shown.count("\n") == text.count("\n")


@pytest.mark.parametrize(
    "text",
    [
        "secretName: db\nserviceAccountName: web\nautomountServiceAccountToken: true",
        "MYSQL_ROOT_PASSWORD:  <set to the key 'p' in secret 'db'>  Optional: false",
        "valueFrom:\n  secretKeyRef:\n    key: password\n    name: db",
        "Access denied for user 'root'@'10.0.0.1' (using password: YES)",
        "couldn't find key password in Secret shop/db",
        "- --service-account-key-file=/etc/kubernetes/pki/sa.pub",
        'secret "db" not found',
        "NAME   READY   STATUS\nweb-1  1/1     Running",
        "tokenExpirationSeconds: 3607",
    ],
)
def test_what_names_no_credential_is_printed_as_it_is(text: str) -> None:
    assert Redactor().listing(text) == text
