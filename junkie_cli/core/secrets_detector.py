"""Finds passwords, keys and card numbers in text, so that they are neither stored nor shown.

Three kinds, from the most to the least certain: keys and tokens of a known form, by the rules of gitleaks and
detect-secrets (`KEY_FORMS`, in a syntax that Python and PostgreSQL share); payment cards, by their check digit; and
text that is called a password, PIN or key in one of the languages of `_NAMES`: "my password is ...", "PIN: ...",
"contraseña ...".

Prefers false positives: a sentence about a password is rarely a useful memory. Random-looking text without a name is
not found. Every search is linear in the text. Pure functions.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from junkie_cli.core.value_class import frozen

REPLACEMENT = "[removed]"

KEY_FORMS: tuple[tuple[str, str], ...] = (
    ("private key", r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY"),
    ("age key", r"AGE-SECRET-KEY-1[0-9A-Z]{50}"),
    ("AWS key", r"(A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}"),
    ("GitHub token", r"(gh[pousr]_[A-Za-z0-9]{30}|github_pat_[A-Za-z0-9_]{30})"),
    ("GitLab token", r"gl(pat|dt|rt|cbt|ptt)-[A-Za-z0-9_-]{20}"),
    ("Slack token", r"(xox[abeoprs]|xapp)-[A-Za-z0-9-]{10}"),
    ("Slack webhook", r"hooks\.slack\.com/(services|workflows)/[A-Za-z0-9/+]{20}"),
    ("Discord webhook", r"discord(app)?\.com/api/webhooks/[0-9]{15}"),
    ("Discord token", r"[MNO][A-Za-z0-9_-]{23,25}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27}"),
    ("Telegram token", r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}"),
    ("Stripe key", r"(sk|rk)_(live|test|prod)_[A-Za-z0-9]{10}"),
    ("Google key", r"AIza[A-Za-z0-9_-]{30}"),
    ("Google token", r"(ya29\.[A-Za-z0-9_-]{20}|GOCSPX-[A-Za-z0-9_-]{20})"),
    ("Groq key", r"gsk_[A-Za-z0-9]{20}"),
    ("model provider's key", r"(sk-[A-Za-z0-9_-]{20}|r8_[A-Za-z0-9]{30}|xai-[A-Za-z0-9]{30}|pplx-[A-Za-z0-9]{30})"),
    ("Hugging Face token", r"(hf|api_org)_[A-Za-z]{30}"),
    ("package registry's token", r"(npm_[A-Za-z0-9]{30}|pypi-[A-Za-z0-9_-]{50}|dckr_pat_[A-Za-z0-9_-]{20})"),
    ("mail service's key", r"(SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16}|xkeysib-[a-f0-9]{60}|key-[a-f0-9]{32})"),
    (
        "cloud token",
        r"(do[oprt]_v1_[a-f0-9]{60}|dapi[a-f0-9]{32}|hv[bs]\.[A-Za-z0-9_-]{24}|shp(at|ca|pa|ss)_[a-f0-9]{32})",
    ),
    ("JSON web token", r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\."),
    ("password in an address", r"[a-z][a-z0-9+.-]{1,20}://[^ :/@?#]{0,60}:[^ /@?#]{1,100}@"),
)
"""Name and pattern of each kind of key. A match never begins after a letter, a digit or an underscore."""

_NOT_BEHIND_A_WORD = "(?<![A-Za-z0-9_])"
SQL_PATTERN = f"{_NOT_BEHIND_A_WORD}({'|'.join(form for _, form in KEY_FORMS)})"
"""All of KEY_FORMS as one regular expression for PostgreSQL's `~`."""


@frozen
class Secret:
    """The position of a secret: `text[start:end]`; `kind` for people, without an article."""

    kind: str
    start: int
    end: int


def find_secrets(text: str) -> tuple[Secret, ...]:
    """Find the secrets in `text`, in order; of overlapping ones, the first."""
    found = sorted([*_keys(text), *_cards(text), *_named(text)], key=lambda secret: (secret.start, -secret.end))
    apart: list[Secret] = []
    for secret in found:
        if not apart or secret.start >= apart[-1].end:
            apart.append(secret)
    return tuple(apart)


def holds_secret(text: str) -> bool:
    """Return whether `text` contains a secret."""
    return bool(find_secrets(text))


def without_secrets(text: str) -> str:
    """Replace each secret in `text` by REPLACEMENT."""
    parts, end = [], 0
    for secret in find_secrets(text):
        parts += [text[end : secret.start], REPLACEMENT]
        end = secret.end
    return "".join([*parts, text[end:]])


# --- keys of a known form ---------------------------------------------------------------------------------------------

# Characters after the pattern belong to the key.
_KEYS = re.compile(_NOT_BEHIND_A_WORD + "(?:" + "|".join(f"({form})" for _, form in KEY_FORMS) + r")[A-Za-z0-9_/+=.-]*")
_BLOCK_END = re.compile(r"-----END [A-Z ]{0,30}PRIVATE KEY[A-Z ]{0,10}-----")


def _groups() -> dict[int, str]:
    """Return the kind for each outer group of _KEYS."""
    kinds, group = {}, 1
    for kind, form in KEY_FORMS:
        kinds[group] = kind
        group += 1 + re.compile(form).groups
    return kinds


_KINDS = _groups()


def _keys(text: str) -> Iterator[Secret]:
    for match in _KEYS.finditer(text):
        kind = next(kind for group, kind in _KINDS.items() if match[group] is not None)
        end = match.end()
        if kind == "private key":
            closing = _BLOCK_END.search(text, end)
            end = closing.end() if closing else len(text)
        yield Secret(kind, match.start(), end)


# --- numbers with a check digit ---------------------------------------------------------------------------------------

_CARD = re.compile(r"(?<![0-9.-])[3-6][0-9]{3}(?:[ -]?[0-9]){9,15}(?![0-9-])")


def _cards(text: str) -> Iterator[Secret]:
    for match in _CARD.finditer(text):
        digits = [int(one) for one in match[0] if one.isdecimal()]
        if 13 <= len(digits) <= 19 and len(set(digits)) > 1 and _is_luhn(digits):
            yield Secret("card number", match.start(), match.end())


def _is_luhn(digits: list[int]) -> bool:
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


# --- named secrets ----------------------------------------------------------------------------------------------------

# Names that can end a longer word ("WLAN-Passwort", "OPENAI_API_KEY"), then those that occur in other words.
_LONG_NAMES = (
    "pass ?words?|passwd|pass ?phrases?|pass ?codes?|pin[ -]?(?:codes?|numbers?)|log-?in codes?|seed ?phrases?"
    "|(?:api|access|secret|private|encryption|license|recovery|backup|security|master|auth)[ _-]?(?:keys?|codes?)"
    "|(?:access|auth|bearer|refresh|session|api)[ _-]?tokens?|client[ _-]?secrets?"
    # German, Dutch, Scandinavian, Finnish
    "|pass?wort|passwörter|kennwort|kennwörter|zugangscode|geheimzahl|wachtwoord(?:en)?|adgangskoden?|lösenord(?:et)?"
    "|passord(?:et)?|salasana(?:ni)?"
    # French, Spanish, Catalan, Portuguese, Italian
    "|mots? de passe|code secret|code wifi|contraseñas?|contrasenya|contrasena|palavra[- ]passe|codice segreto"
    # Hungarian, Turkish, Indonesian, Vietnamese
    "|jelsz(?:ó|avam)|şifre(?:m|si)?|kata sandi|mật khẩu"
    # Russian and Ukrainian, Greek, Arabic, Hebrew, Hindi, Japanese, Chinese, Korean, Thai
    r"|парол[ьяі]|пин-?код|κωδικός(?: πρόσβασης)?|كلمة (?:المرور|السر)|הסיסמה|סיסמה|पासवर्ड|パスワード|暗証番号"
    "|密码|密碼|비밀번호|암호|รหัสผ่าน"
)
_SHORT_NAMES = "pwd|pins?|cvv|cvc|mnemonic|clave|senha|password|parola|parolam|parolası|hasło|heslo|sandi|пин|token"
_NAME = re.compile(rf"(?:{_LONG_NAMES}|(?<!\w)(?:{_SHORT_NAMES}))(?!\w)", re.IGNORECASE)
_UNSPACED_NAME = re.compile("パスワード|暗証番号|密码|密碼|비밀번호|암호|รหัสผ่าน")
_ASCII_RUN = re.compile(r"[!-~]{4,80}")
# Words between a name and its value; those of _MAYBE_IS have another meaning in other languages.
_IS = frozenset(
    re.findall(
        r"\S+",
        """is was are equals : = -> → - – — ist war lautet heißt heisst est c'est était es era é è är er jest je
    là adalah είναι है هي היא คือ 는 은 は is: ist: est: es: é: è: lautet:""",
    )
)
_MAYBE_IS = frozenset(re.findall(r"\S+", "to on az e a si"))
# Words after "the password is" that describe the password instead of giving it.
_ABOUT = frozenset(
    re.findall(
        r"\S+",
        """a an the not no too very so quite really always never still also only already now just same strong weak long
    short secure insecure safe unsafe good bad wrong right correct incorrect simple complicated easy hard difficult
    expired lost forgotten unknown known changed saved stored written kept hidden secret private different unique old
    new empty missing reset needed required compromised leaked stolen something anything nothing what where why how in
    on at with by for from to of that this it he she they his her their my your our one more less
    nicht kein keine zu sehr immer nie noch auch nur schon jetzt gleich stark schwach lang kurz sicher unsicher gut in
    schlecht falsch richtig einfach schwer abgelaufen verloren vergessen unbekannt geändert gespeichert geheim alt neu
    pas trop très toujours jamais aussi fort faible court sûr bon mauvais faux perdu oublié inconnu changé dans une un
    muy demasiado siempre nunca también segura débil larga corta buena mala perdida olvidada guardada secreta en una
    non troppo molto sempre mai anche forte debole lunga corta sicura persa dimenticata salvata segreta
    não muito sempre fraca longa curta segura esquecida""",
    )
)
_NOT_THE_THING = frozenset(
    re.findall(r"\S+", "manager managers safe policy policies rules reset hygiene generator field")
)
_CLAUSE_END = re.compile(r"[.!?;][\s)\"'”]|\n|, (?:and|but|und|aber|et|mais|y|pero|e|ma|mas|и|но) |$")
_MOST_WORDS = 10
_WORD = re.compile(r"\S+")
_QUOTES = "\"'`“”„«»‘’‚「」『』"
_QUOTED = re.compile(rf"[{_QUOTES}]([^{_QUOTES}\n]{{1,100}})[{_QUOTES}]")


def _named(text: str) -> Iterator[Secret]:
    for name in _NAME.finditer(text):
        value = _value_behind(text, name.end()) or _value_before(text, name.start())
        if value is not None:
            yield Secret("password", *value)
    for name in _UNSPACED_NAME.finditer(text):
        run = _ASCII_RUN.search(text, name.end(), min(len(text), name.end() + 90))
        if run is not None and run.start() - name.end() <= 8:
            yield Secret("password", run.start(), run.end())


def _value_behind(text: str, start: int) -> tuple[int, int] | None:
    """Return the span of the value after the name that ends at `start`: directly, or after the first "is"."""
    end = start + 200
    clause = _CLAUSE_END.search(text, start, min(len(text), end))
    end = min(len(text), end) if clause is None else clause.start()
    glued = re.compile(r"[:=]").match(text, start)
    if glued is not None:
        return _value(text, glued.end(), end, sure=True)
    words = [word.span() for word in _WORD.finditer(text, start, end)][:_MOST_WORDS]
    if not words or text[slice(*words[0])].lower() in _NOT_THE_THING:
        return None
    value = _value(text, start, end, sure=False)
    for word_start, word_end in words:
        if value is not None:
            return value
        word = text[word_start:word_end].lower()
        if word in _IS or word.endswith((":", "=")):
            value = _value(text, word_end, end, sure=word not in _MAYBE_IS)
        elif word in _MAYBE_IS:
            value = _value(text, word_end, end, sure=False)
    return value


def _value(text: str, start: int, end: int, *, sure: bool) -> tuple[int, int] | None:
    """Return the span of the value after `start`; an ordinary word counts only if `sure`."""
    word = _WORD.search(text, start, end)
    if word is None:
        return None
    quoted = _QUOTED.match(text, word.start())
    if quoted is not None:
        return quoted.span(1)
    first = _stripped(text, word.start(), word.end())
    if first is None or _looks_generated(text[slice(*first)]):
        return first
    if not sure or _is_about(text[word.start() : end].lower().split()):
        return None
    return _stripped(text, word.start(), end)  # one word, or several: a phrase


def _value_before(text: str, end: int) -> tuple[int, int] | None:
    """Return the span of the value in "VALUE is my password"."""
    words = list(_WORD.finditer(text, max(0, end - 200), end))[-6:]
    for value, verb in pairwise(words):
        if verb[0].lower() in _IS | {"as", "als", "comme", "como", "come"} and _looks_generated(
            value[0].strip(_QUOTES)
        ):
            return _stripped(text, value.start(), value.end())
    return None


def _stripped(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Return the span without quotes and trailing punctuation; None if nothing is left."""
    found = text[start:end]
    inner = found.rstrip().rstrip(".,;:!?。)]").strip(_QUOTES)
    if not inner:
        return None
    begin = start + found.index(inner)
    return begin, begin + len(inner)


def _is_about(words: list[str]) -> bool:
    """Return whether `words` describe the password. A passphrase of four words can begin with one of _ABOUT."""
    plain = [word.strip(f".,;:!?。){_QUOTES}") for word in words]
    about = sum(word in _ABOUT for word in plain)
    if len(plain) >= 4 and about <= 1 and not plain[0].endswith(("ed", "ing")):
        return False
    return plain[0] in _ABOUT or (len(plain) > 1 and plain[0].endswith(("ed", "ing", "en", "rt")))


def _looks_generated(word: str) -> bool:
    """Return whether `word` looks generated: at least four characters with a digit, a symbol or an inner capital."""
    plain = word.rstrip(".,;:!?。)]")
    if len(plain) < 4:
        return False
    inner_capital = any(a.islower() and b.isupper() for a, b in pairwise(plain))
    return inner_capital or any(one.isdigit() or one in "!@#$%^&*+=~_<>|\\" for one in plain)
