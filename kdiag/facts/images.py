"""The names of images: their parts, the one that was probably meant, and those that the nodes have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from kdiag.facts.base import NodeCommand
from kdiag.facts.hosts import Answer, HostFact, answer
from kdiag.model.jsontext import read_json
from kdiag.model.text import nearest


class Image(NamedTuple):
    """An image name in its parts: ``registry/path:tag@digest``, with Docker's defaults."""

    registry: str
    path: str
    tag: str
    digest: str

    @property
    def repository(self) -> str:
        """Registry and path."""
        return f"{self.registry}/{self.path}"

    @property
    def short(self) -> str:
        """The repository as people write it: Docker's defaults left out."""
        return self.path.removeprefix("library/") if self.registry == "docker.io" else self.repository

    @classmethod
    def parse(cls, name: str) -> Image:
        """Take a name apart; never raises, whatever it is."""
        rest, _, digest = name.partition("@")
        head, slash, path = rest.partition("/")
        if not slash or ("." not in head and ":" not in head and head != "localhost"):
            head, path = "docker.io", rest if slash else f"library/{rest}"
        place, colon, tag = path.rpartition(":")
        return cls(head, place if colon else path, tag if colon else "" if digest else "latest", digest)


def close_image(image: Image, others: Iterable[str]) -> str:
    """The image among ``others`` that was probably meant: another tag of the repository, or a repository like it."""
    found = [Image.parse(name) for name in others]
    if same := [i for i in found if i.repository == image.repository and i.tag]:
        tag = nearest(image.tag, [i.tag for i in same]) or (same[0].tag if len({i.tag for i in same}) == 1 else "")
        return f"{same[0].short}:{tag}" if tag and tag != image.tag else ""
    like = nearest(image.repository, [i.repository for i in found])
    if not like:
        return ""
    tags = {i.tag: i for i in found if i.repository == like and i.tag}
    one = tags.get(image.tag) or next(iter(tags.values()), None)
    return f"{one.short}:{one.tag}" if one else ""


class Images(HostFact[tuple[str, ...]]):
    """The names under which each node's runtime has images."""

    sources = (NodeCommand("images", ("crictl", "images", "-o", "json"), sudo=True, seconds=8, limit=1 << 20),)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> tuple[str, ...]:
        """The tags of all images."""
        try:
            listed = read_json(answer(answers, "images")).get("images") or []
            return tuple(str(tag) for image in listed for tag in (image.get("repoTags") or ()))
        except (AttributeError, TypeError) as exc:
            raise ValueError(f"no list of images: {exc}") from exc
