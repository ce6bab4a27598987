"""What looks like a credential, and how it is taken out.

A value is replaced by a token that is the same for the same value within one run or one snapshot, so
that two places can be compared ("the client's password is not the server's") and nothing can be read.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator

_NAME = re.compile(
    r"(?<![a-z])pass(?:word|wd|phrase)?(?:$|[^a-z])|passw|pwd|secret|token|credential|api[-_]?key|access[-_]?key|private[-_]?key"
    r"|auth[-_]?key|dsn$|conn(?:ection)?[-_]?str|database[-_]?url|redis[-_]?url|mongo[-_]?ur[il]|encryption[-_]?key|salt$",
    re.IGNORECASE,
)
_NOT_A_VALUE = re.compile(
    r"[-_]?(file|path|dir|name|ttl|expiry|expiration|seconds|enabled|type|url|uri|host|port)$", re.IGNORECASE
)
#: What tells in casefolded text that a pattern may find something, and the pattern. Most text holds none of them: to
#: look for the words first takes a tenth of the time, for re.IGNORECASE and a look behind are tried at every character.
_TEXT = tuple(
    (words, re.compile(pattern, flags))
    for words, pattern, flags in (
        (("private key",), r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", 0),
        (("eyj",), r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?", 0),
        # Signed apart: ConfigMap kube-public/cluster-info.
        (("eyj",), r"\beyJ[A-Za-z0-9_-]{8,}\.\.[A-Za-z0-9_-]{16,}", 0),
        (("bearer ",), r"(?<=\bBearer )[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
        (("basic ",), r"(?<=\bBasic )[A-Za-z0-9+/=]{8,}", re.IGNORECASE),
        (("akia", "asia"), r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", 0),
        (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\bgh[pousr]_[A-Za-z0-9]{20,}\b", 0),
        (("xox",), r"\bxox[abprs]-[A-Za-z0-9-]{10,}", 0),
        # As a kubeconfig writes them, on a line of their own or inside of braces.
        (
            ("token: ", "key-data: "),
            r"(?P<lead>\b(?:token|client-key-data): [\"']?)[A-Za-z0-9._~+/=-]{16,}",
            re.IGNORECASE,
        ),
        (("://",), r"(?P<lead>://)[^\s/:@\"']+:[^\s/@\"']+(?=@)", 0),
        (
            ("password=", "passwd=", "pwd=", "secret=", "token=", "apikey=", "api_key="),
            r"(?<![A-Za-z])(?:(?<=password=)|(?<=passwd=)|(?<=pwd=)|(?<=secret=)|(?<=token=)|(?<=apikey=)|(?<=api_key=))"
            r"[^\s&;,\"'})]+",
            re.IGNORECASE,
        ),
        (
            ("--password", "--token", "--requirepass", '"password":"', '"token":"', "password: "),
            r"(?<=--password=)\S+|(?<=--token=)\S+|(?<=--password )\S+|(?<=--token )\S+|(?<=--requirepass )\S+"
            r"|(?<=\"password\":\")[^\"]+|(?<=\"token\":\")[^\"]+|(?<=password: )(?!(?:YES|NO)\b)[^\s\"']+",
            re.IGNORECASE,
        ),
    )
)
# Any of the words: for a short text one search is cheaper than looking for each.
_HINT = re.compile("|".join(sorted({re.escape(word) for words, _ in _TEXT for word in words})))
# Names of variables that hold a place to connect to with the login in it: the place is worth keeping.
_PLACE_NAME = re.compile(
    r"^(?!.*(?:secret|token|passw|credential|api[-_]?key))"
    r".*(?:dsn$|conn(?:ection)?[-_]?str|database[-_]?url|redis[-_]?url|mongo[-_]?ur[il])",
    re.IGNORECASE,
)
_URL = re.compile(
    r"(?P<scheme>(?:[A-Za-z][A-Za-z0-9+.-]{0,30}:){1,4}//)(?:(?P<login>.{1,1024})@)?"
    r"(?P<place>[A-Za-z0-9._\[\]:,-]{1,1024}(?:/[A-Za-z0-9_.-]{0,64})?)(?P<rest>[?;/#].*)?",
    re.DOTALL,
)
_DSN = re.compile(
    r"(?P<scheme>)(?:(?P<login>.{1,1024})@)(?P<place>tcp6?\([A-Za-z0-9._\[\]:-]{1,300}\)(?:/[A-Za-z0-9_.-]{0,64})?)"
    r"(?P<rest>\?.*)?",
    re.DOTALL,
)
_PAIR = re.compile(
    r"(?:(?<=^)|(?<=[;\s]))(?:host|hostaddr|port|dbname|database|server|data source|initial catalog)\s?=\s?"
    r"[A-Za-z0-9._:,\\-]{1,260}"
    r"(?=;|\s|$)",
    re.IGNORECASE,
)
PREFIX = "<redacted:"
_QUOTE = r"\\*[\"']?"
# A string in quotes, in the escaped quotes of JSON inside of JSON, or a word.
_STRING = (
    r"(?P<value>(?(escaped)\"(?:[^\"\\\n]|\\{3}.)*\\+\""
    r"|(?:\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[^\s\"',;}\]\\]+)))"
)
_CALLED = r"(?P<name>[A-Za-z_][\w.-]{1,80})"
#: ``NAME=value``, ``name: value``, ``"name":"value"``: as YAML, JSON, an environment and a description write it.
_NAMED = re.compile(rf"(?P<lead>(?<![\w.]){_CALLED}{_QUOTE}\s?[:=][ \t]*(?P<escaped>\\+)?){_STRING}")
#: The name and the value of a variable as members of an object, on one line or on two.
_ENTRY = re.compile(
    rf"(?P<lead>\b(?:name|key){_QUOTE}\s?:\s*{_QUOTE}{_CALLED}{_QUOTE},?\s*{_QUOTE}value{_QUOTE}\s?:[ \t]*"
    rf"(?P<escaped>\\+)?){_STRING}"
)
#: An argument of a list, and the one after it.
_LISTED = re.compile(r"(?P<lead>^\s*- [\"']?--?(?P<name>[\w-]{2,60})[\"']?\n\s*- )(?P<value>\S+)", re.MULTILINE)
_BLOCK = re.compile(r"(?P<lead>(?P<indent>[ ]*)(?:- )?(?P<name>[\w.-]{2,80}): [|>][-+0-9]*)")
_HARMLESS = re.compile(
    r"[\"']?(?:[<\[{|>/*].*|true|false|null|none|yes|no|[0-9.]{1,6}[a-z%]{0,2}|\$\(?.*|[\"']*)[\"']?",
    re.IGNORECASE | re.DOTALL,
)


class Redactor:
    """Replaces credentials by tokens under one random key, and counts what it replaced."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)
        self.count = 0

    def token(self, value: str) -> str:
        """The token that stands for ``value``; a token stands for itself."""
        if value.startswith(PREFIX):
            return value
        self.count += 1
        return f"{PREFIX}{hmac.new(self._key, value.encode(errors='replace'), hashlib.sha256).hexdigest()[:12]}>"

    def value(self, name: str, value: str) -> str:
        """The value of a variable or key called ``name``, with what is secret in it replaced."""
        if value and names_a_secret(name):
            return self._place(value) if _PLACE_NAME.search(name) else self.token(value)
        return self.text(value)

    def _place(self, value: str) -> str:
        """A connection string with its login and options replaced and the place kept; a token where it is no such."""
        if match := _URL.fullmatch(value) or _DSN.fullmatch(value):
            login, rest = match["login"], match["rest"]
            return (
                match["scheme"]
                + (f"{self.token(login)}@" if login else "")
                + match["place"]
                + (f"{rest[0]}{self.token(rest[1:])}" if rest and len(rest) > 1 else rest or "")
            )
        if re.search(r"<redacted:[0-9a-f]{12}>$", value):
            return value
        kept = [pair[0] for pair in _PAIR.finditer(value)]
        return " ".join([*kept, self.token(value)]) if kept else self.token(value)

    def text(self, text: str) -> str:
        """Free text with private keys, tokens and passwords replaced."""
        if len(text) < 8 or not _HINT.search(folded := text.casefold()):
            return text
        for words, pattern in _TEXT:
            if any(word in folded for word in words):
                text = pattern.sub(self._found, text)
        return text

    def _found(self, match: re.Match[str]) -> str:
        lead = match["lead"] if "lead" in match.re.groupindex else ""
        secret = match[0][len(lead) :]
        return match[0] if secret.startswith(PREFIX) else lead + self.token(secret)

    def listing(self, text: str) -> str:
        """What a command printed, with private keys, tokens and the values of what is called a secret replaced.

        Unlike ``text`` it knows the shapes in which kubectl and configuration files write names and values.
        """
        text = "\n".join(self._blocks(self.text(text).split("\n")))
        for pattern in (_ENTRY, _LISTED, _NAMED):
            text = pattern.sub(self._named, text)
        return text

    def _named(self, match: re.Match[str]) -> str:
        value = match["value"]
        if not names_a_secret(match["name"]):
            # "Environment=DB_PASSWORD=x": what stands inside has a name of its own.
            return match["lead"] + (_NAMED.sub(self._named, value) if re.search(r"[:=]", value) else value)
        if PREFIX in value or _HARMLESS.fullmatch(value.rstrip(").")):
            return match[0]
        quote = value[0] if value[0] in "\"'" else ""
        end = re.search(r"\\*[\"']?$", value)
        return f"{match['lead']}{quote}{self.token(value.strip(quote))}{end[0] if quote and end else ''}"

    def _blocks(self, lines: list[str]) -> Iterator[str]:
        """The lines, with what hangs below ``password: |`` replaced; a variable's name may stand in the line before."""
        named, inside = "", -1
        for line in lines:
            indent = len(line) - len(line.lstrip(" "))
            if inside >= 0 and (indent > inside or not line.strip()):
                yield f"{line[:indent]}{self.token(line.strip())}" if line.strip() else line
                continue
            inside = -1
            if match := _BLOCK.fullmatch(line.rstrip()):
                name = named if match["name"] == "value" and named else match["name"]
                inside = indent if names_a_secret(name) else -1
            entry = re.fullmatch(r"\s*(?:- )?name: [\"']?([\w.-]+)[\"']?", line)
            named = entry[1] if entry else ""
            yield line


def names_a_secret(name: str) -> bool:
    """Whether a variable, key or flag of this name holds a credential rather than a place or a setting."""
    return bool(_NAME.search(name)) and not (
        _NOT_A_VALUE.search(name) and not re.search(r"dsn|url|uri", name, re.IGNORECASE)
    )


#: The redactor of this run: what it writes into facts compares equal within the run and reads back nowhere.
RUN = Redactor()
