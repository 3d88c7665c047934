"""A picture of what one network makes of a test image, and how it is stored."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, TypedDict

from kdengine.errors import KDError
from kdengine.files import Text

if TYPE_CHECKING:
    from PIL.Image import Image


class LookData(TypedDict):
    """A look as it is stored. png: its picture, base64."""

    name: Text
    answer: Text
    right: bool | None
    png: str


@dataclass(frozen=True)
class Look:
    """A cell: a network's name, what it answers, whether that is right (None for the picture itself)."""

    name: str
    answer: str
    right: bool | None
    picture: Image

    def as_data(self) -> LookData:
        """As it is stored."""
        return {"name": self.name, "answer": self.answer, "right": self.right, "png": png(self.picture)}

    @classmethod
    def from_data(cls, stored: LookData) -> Look:
        """As it was stored. Raises KDError for what is no picture."""
        from kdengine.data import pictures

        try:
            content = base64.b64decode(stored["png"], validate=True)
        except ValueError as error:
            raise KDError(f"the picture of {stored['name']} is no base64") from error
        picture = pictures.read_picture(content, name=stored["name"])
        return cls(stored["name"], stored["answer"], stored["right"], picture)


def png(picture: Image) -> str:
    """A picture as PNG, base64."""
    file = BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
