"""Which of the two words a detection is: from the probabilities of the text's tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .rules import Role

BOX_THRESHOLD = 0.4
TEXT_THRESHOLD = 0.3


@dataclass(frozen=True)
class Text:
    """The text given to the detector, and which of its tokens are whose."""

    text: str
    subject: str
    object: str
    """Both words as the prompt has them."""
    subject_tokens: tuple[int, ...]
    object_tokens: tuple[int, ...]
    ids: tuple[int, ...]


def text_of(tokenizer: Any, subject: str, obj: str) -> Text:
    """`<subject>. <object>.`; a token belongs to a word when it lies inside it."""
    given = subject, obj
    subject, obj = subject.strip().lower(), obj.strip().lower()
    text = f"{subject}. {obj}."
    encoded = tokenizer(text, return_offsets_mapping=True)
    places = {Role.SUBJECT: (0, len(subject)), Role.OBJECT: (len(subject) + 2, len(subject) + 2 + len(obj))}

    def inside(role: Role) -> tuple[int, ...]:
        low, high = places[role]
        return tuple(i for i, (start, end) in enumerate(encoded["offset_mapping"]) if start < end and low <= start and end <= high)

    tokens = {role: inside(role) for role in Role}
    if not all(tokens.values()):
        raise ValueError(f"the detector's tokenizer finds no token of {subject!r} or of {obj!r} in {text!r}")
    return Text(text, *given, tokens[Role.SUBJECT], tokens[Role.OBJECT], tuple(encoded["input_ids"]))


def by_span(probabilities: torch.Tensor, text: Text) -> Role | None:
    """The word with the larger maximum, if that is enough and the other one's is not."""
    subject = float(probabilities[list(text.subject_tokens)].max())
    obj = float(probabilities[list(text.object_tokens)].max())
    role, larger, smaller = (Role.SUBJECT, subject, obj) if subject >= obj else (Role.OBJECT, obj, subject)
    return role if larger >= TEXT_THRESHOLD > smaller else None


def by_phrase(probabilities: torch.Tensor, text: Text, tokenizer: Any) -> Role | None:
    """As published: the decoded tokens above the threshold, all but the first and the 256th, must be exactly one of the words
    as the prompt has it. So upper case never matches, as the tokenizer knows none, nor does what the last token,
    [SEP], is a part of."""
    chosen = [text.ids[i] for i in range(1, min(len(text.ids), 255)) if float(probabilities[i]) > TEXT_THRESHOLD]
    phrase = tokenizer.decode(chosen)
    return {text.subject: Role.SUBJECT, text.object: Role.OBJECT}.get(phrase)
