"""Toys that hand out text."""

from collections.abc import Iterator


class Pieces:
    """An iterator over texts that counts how many have been taken."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = list(texts)
        self.taken = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.taken == len(self.texts):
            raise StopIteration
        self.taken += 1
        return self.texts[self.taken - 1]


TOYS = {"pieces": Pieces}
