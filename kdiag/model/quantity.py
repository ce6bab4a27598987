"""Kubernetes quantities ("500m", "2Gi") as exact numbers, and back into words.

Grammar: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

_FORM = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))([eE][+-]?[0-9]{1,3}|[numkMGTPE]|[KMGTPE]i)?")
_POWER = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}


class Quantity(Decimal):
    """An amount of a resource in its base unit: cores, bytes or pieces."""

    @classmethod
    def parse(cls, text: str | int | float) -> Quantity:
        """Read a quantity; raises ValueError with the text quoted when it is none."""
        match = _FORM.fullmatch(str(text).strip())
        if not match:
            raise ValueError(f"{str(text)[:40]!r} is not a quantity")
        number, suffix = match[1], match[2] or ""
        try:
            if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix != "Ei":
                return cls(Decimal(number + suffix))
            return cls(Decimal(number) * _POWER[suffix])
        except (InvalidOperation, KeyError):
            raise ValueError(f"{str(text)[:40]!r} is not a quantity") from None


def amount(resource: str, value: Decimal) -> str:
    """Write an amount as a person would: ``250m`` of cpu, ``1.5Gi`` of memory, ``110`` pods."""
    if resource.endswith("cpu"):
        return f"{int(value * 1000)}m" if value % 1 else f"{int(value)}"
    if any(word in resource for word in ("memory", "storage", "hugepages")):
        for suffix in ("Ti", "Gi", "Mi", "Ki"):
            if abs(value) >= _POWER[suffix]:
                return f"{round(float(value / _POWER[suffix]), 1):g}{suffix}"
    return f"{value.normalize():f}" if value % 1 else f"{int(value)}"


def memory(value: Decimal | None) -> str:
    """An amount of memory as a person writes it; ``none`` where there is none."""
    return "none" if value is None else amount("memory", value)
