"""Secrets are found in the ways that people write them, and ordinary sentences are left alone."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from junkie_cli.core.secrets_detector import (
    KEY_FORMS,
    REPLACEMENT,
    SQL_PATTERN,
    find_secrets,
    holds_secret,
    without_secrets,
)

LETTERS = "Ab3dEf6hIj9lMn2pQr5tUv8xYz1bCd4fGh7jKl0nOp3rSt6vWx9z"
# Put together here, so that no scanner of this repository takes them for keys that somebody lost.
KEYS = [
    "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
    "AGE-SECRET-" + "KEY-1" + "Q" * 58,
    "AKIA" + "ABCDEFGH" * 2,
    "gh" + "p_" + LETTERS[:36],
    "github" + "_pat_" + LETTERS[:40],
    "glpat" + "-" + LETTERS[:20],
    "xox" + "b-123456789012-" + LETTERS[:12],
    "hooks.slack.com/" + "services/T00000000/B00000000/" + LETTERS[:24],
    "M" + LETTERS[:23] + "." + LETTERS[:6] + "." + LETTERS[:27],
    "123456789:" + "AA" + LETTERS[:33],
    "sk" + "_live_" + LETTERS[:24],
    "AIza" + LETTERS[:35],
    "gsk" + "_" + LETTERS[:50],
    "sk" + "-proj-" + LETTERS[:40],
    "hf" + "_" + "AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGh",
    "npm" + "_" + LETTERS[:36],
    "eyJ" + LETTERS[:20] + ".eyJ" + LETTERS[:20] + "." + LETTERS[:20],
    "postgres://" + "ada:tea4two@db.example.org/app",
]
# What stands before the secret, the secret, and what stands behind it.
SAID = [
    ("User's wifi password is ", "hunter2", "."),
    ("My password for the office wifi at home is ", "swordfish", ""),
    ("My password is ", "correct horse battery staple", "."),
    ("password: ", "tea", ""),
    ("PIN:", "4711", ""),
    ("The PIN of my card is ", "4711", ", and I like tea"),
    ('User set the passcode to "', "open sesame", '"'),
    ("export OPENAI_API_KEY=", "abcdefg", ""),
    ("", "Tr0ub4dor", " is my password"),
    ("I use ", "Tr0ub4dor", " as the password"),
    ("My seed phrase is ", "witch collapse practice feed shame open", ""),
    ("Mein WLAN-Passwort lautet ", "Sommer2024", "."),
    ("The password is ", "green donkey jumps high", "!"),
    ("Das Kennwort für den Rechner ist ", "Apfelbaum", "."),
    ("Benutzer hat die PIN ", "4711", ""),
    ("Mon mot de passe est ", "fromage", "."),
    ("La contraseña del wifi es ", "casa1234", "."),
    ("A senha é ", "segredo99", ""),
    ("La mia password è ", "pizza42", "!"),
    ("Het wachtwoord is ", "fietsbel", "."),
    ("Mitt lösenord är ", "sommar", "."),
    ("Moje hasło to ", "kotek123", ""),
    ("A jelszavam: ", "alma", ""),
    ("Wifi şifrem ", "ankara06", ""),
    ("Мой пароль — ", "qwerty", "."),
    ("пароль: ", "солнышко", ""),
    ("パスワードは", "hunter2", "です。"),
    ("我的密码是", "abc123", "。"),
    ("비밀번호는 ", "abc123", "입니다"),
    ("mật khẩu là ", "meocon1", ""),
    ("كلمة المرور هي ", "abc123", ""),
    ("Her card is ", "4111 1111 1111 1111", " until May"),
]
HARMLESS = [
    "User likes tea.",
    "User uses a password manager.",
    "User's password manager is 1Password.",
    "User forgot the password again.",
    "User's password is easy to remember.",
    "User's password is shared with the family.",
    "The password to the vault is the name of a dog.",
    "User's password is too long.",
    "User's password is stored in a safe.",
    "The password was changed in 2019.",
    "User has to change the password every 90 days.",
    "Benutzer hat sein Passwort vergessen.",
    "Das Passwort ist sehr lang.",
    "User collects enamel pins and has 2000 of them.",
    "User spins wool.",
    "User lives at 12 High Street, phone 030 1234567.",
    "User's IBAN is DE89 3704 0044 0532 0130 00.",
    "Order 4111 1111 1111 1112 has arrived",
    "User's daughter was born on 2019-04-05.",
    "User believes that the secret of a good soup is patience and time.",
    "User reads https://example.org/a:b@c",
    "User's key signature of choice is D minor.",
]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:12])
def test_keys_with_a_form(key: str) -> None:
    assert without_secrets(f"User's key: see {key} and tea").endswith(f"{REPLACEMENT} and tea"), find_secrets(key)
    assert holds_secret(key)


@pytest.mark.parametrize(("before", "secret", "behind"), SAID)
def test_what_is_called_a_secret(before: str, secret: str, behind: str) -> None:
    text = f"{before}{secret}{behind}"
    assert without_secrets(text) == f"{before}{REPLACEMENT}{behind}", find_secrets(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_sentences(text: str) -> None:
    assert find_secrets(text) == ()


@given(st.text(st.sampled_from("passwordPIN is:=4\"' .,-é密码は\n")))
def test_spans_lie_in_the_text_and_nothing_is_left(text: str) -> None:
    found = find_secrets(text)
    assert all(0 <= secret.start < secret.end <= len(text) for secret in found)
    assert all(a.end <= b.start for a, b in pairwise(found))


def test_a_long_text_takes_no_longer_than_its_length() -> None:
    for text in ("password " * 6_000, "password is " * 4_000, "4" * 40_000, "eyJ" * 12_000, "a:" * 20_000):
        find_secrets(text)


def test_the_pattern_for_postgresql_is_the_same_rule() -> None:
    for key in KEYS:
        assert re.search(SQL_PATTERN, key)
    assert len({kind for kind, _ in KEY_FORMS}) == len(KEY_FORMS)
