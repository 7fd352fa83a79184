"""Text as characters: codes of a sorted vocabulary, the first part for training, the rest for validation."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Integer

from jax231.core.checks import require
from jax231.data.dataset import Source
from jax231.data.errors import DataError, demand

TRAIN_SHARE = 0.9


@dataclass(frozen=True)
class Text:
    """A text in memory as character codes; `vocabulary[code]` is the character.

    The split keeps the order of the text: the first 90 % train, the rest is the validation split.
    """

    name: str
    train: Int32[np.ndarray, "train"]
    validation: Int32[np.ndarray, "validation"]
    vocabulary: str
    source: Source
    digests: dict[str, str]

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {character: code for code, character in enumerate(self.vocabulary)}

    def encode(self, characters: str) -> Int32[np.ndarray, "t"]:
        """Codes of the characters.

        Raises:    ValueError naming characters that are not in the vocabulary.
        """
        unknown = sorted(set(characters) - set(self.vocabulary))
        require(not unknown, "Text.encode", f"characters of the vocabulary of {self.name}", unknown=unknown)
        return np.array([self._codes[character] for character in characters], np.int32)

    def decode(self, codes: Integer[np.ndarray, "t"]) -> str:
        """Characters of the codes.

        Raises:    ValueError for a code outside the vocabulary.
        """
        size = len(self.vocabulary)
        inside = bool(np.all((codes >= 0) & (codes < size)))
        require(inside, "Text.decode", f"codes within [0, {size})", codes=np.unique(codes).tolist())
        return "".join(self.vocabulary[code] for code in codes.tolist())


def from_string(name: str, characters: str, source: Source, digests: dict[str, str]) -> Text:
    """A text with the vocabulary of all its characters, in the order of their code points, and its 90/10 split."""
    points = np.frombuffer(characters.encode("utf-32-le"), np.uint32)
    vocabulary, codes = np.unique(points, return_inverse=True)
    codes = codes.astype(np.int32)
    cut = int(TRAIN_SHARE * codes.size)
    return Text(name, codes[:cut], codes[cut:], "".join(map(chr, vocabulary)), source, digests)


def ascii_text(path: Path, content: bytes, characters: int) -> str:
    """The characters of an ASCII file, which must be that many.

    Raises:    DataError for another length or a byte outside ASCII, with its position.
    """
    demand(len(content) == characters, path, f"{characters} characters", len(content))
    return _decoded(path, content, "ascii")


def text_file(path: str | Path) -> Text:
    """A user's own UTF-8 file as a text.

    Raises:    DataError for an empty file or a byte that is not UTF-8, with its position.
    """
    file = Path(path).expanduser()
    content = file.read_bytes()
    demand(len(content) > 0, file, "a text", "an empty file")
    characters = _decoded(file, content, "utf-8")
    digests = {file.name: hashlib.sha256(content).hexdigest()}
    return from_string(file.stem, characters, Source(f"the text {file}", "that of the file", ""), digests)


def _decoded(path: Path, content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(path, f"{encoding} text", f"byte {content[error.start]} at {error.start}") from error
