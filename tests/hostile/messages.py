"""Requests that nobody sane would send: made of a message's descriptor, and then of bytes that were one.

What is drawn comes from one `random.Random`, so that a seed makes the same requests again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

_DEEPEST: Final = 5
_LONG: Final = 100_000
_MANY: Final = 300
_INTEGERS: Final = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_FLOATS: Final = (float("nan"), float("inf"), float("-inf"), -0.0, 0.0, 5e-324, 1.0, 0.5, -1.0, 2.0**64, 3.4e38)
_DOUBLES: Final = (*_FLOATS, 1.8e308, -1.8e308)
_TEXTS: Final = (
    "",
    " ",
    "\0",
    "a\nb",
    "\x1b[2J",
    "\u202ereversed",
    "\ufeff",
    "\U0010ffff",
    "e\u0301" * 200,
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "%2e%2e%2f",
    "C:\\x",
    "{0.__class__}",
    "%s%n",
    "'; DROP TABLE jobs; --",
    "http://127.0.0.1:1/x",
    "https://169.254.169.254/latest",
    "file:///etc",
    "s3://user:secret@bucket/key",
    "models/",
    "models//versions/1",
    "models/../versions/1",
    "models/colours/versions/0",
    "models/colours/versions/-1",
    "models/colours/versions/\u0661",
    "models/colours/versions/99999999999999999999",
    "models/colours/aliases/" + "a" * 300,
    "models/Colours",
    "jobs/\n",
    "datasets/x/versions/1/../..",
    "nan",
    "1e999",
    "-1",
)
_VARINTS: Final = (b"\xff" * 9 + b"\x01", b"\xff" * 11, b"\x80" * 9 + b"\x00", b"\xff\xff\xff\xff\x0f")
# Of bytes that begin a group or a message within a message, for ever: as deep as they are many.
_DEEP: Final = b"\x0b" * 5_000


class Maker:
    """Makes requests of any method."""

    def __init__(self, random: Random, known: Sequence[str], content: Sequence[bytes]) -> None:
        """Draws from `random`.

        Args:
            random: seeded.
            known: texts that the server knows, without which no request would get further than its first field.
            content: bytes that are worth something, such as pictures.
        """
        self._random = random
        self._known = known
        self._content = content

    def request(self, descriptor: Descriptor, seeds: Sequence[bytes] = ()) -> bytes:
        """Returns a message, one whose bytes were changed, or bytes that never were one.

        Args:
            descriptor: of the message.
            seeds: requests that have got far; most others differ from one of them in a field or two.
        """
        kind = self._random.random()
        if kind < 0.04:
            return self._noise()
        made = self._varied(descriptor, self._random.choice(seeds)) if seeds and kind > 0.2 else self.message(descriptor)
        whole: bytes = made.SerializeToString()
        return self.changed(whole) if self._random.random() < 0.25 else whole

    def _varied(self, descriptor: Descriptor, seed: bytes) -> Any:
        made = GetMessageClass(descriptor)()
        with suppress(DecodeError):
            made.ParseFromString(seed)
        for _ in range(self._random.choice((1, 1, 2))):
            self._vary(made)
        return made

    def _vary(self, made: Any) -> None:
        """Draws a field anew, of the message or of one within it."""
        inner = [(field, value) for field, value in made.ListFields() if field.message_type and not field.is_repeated]
        if inner and self._random.random() < 0.6:
            self._vary(getattr(made, self._random.choice(inner)[0].name))
        elif made.DESCRIPTOR.fields:
            field = self._random.choice(made.DESCRIPTOR.fields)
            made.ClearField(field.name)
            if self._random.random() < 0.85:
                self._fill(made, field, 0)

    def message(self, descriptor: Descriptor, depth: int = 0) -> Any:
        """Returns a message whose fields are set or not, to anything that their types let them be."""
        made = GetMessageClass(descriptor)()
        share = self._random.choice((0.15, 0.5, 1.0))
        for field in descriptor.fields:
            if self._random.random() < share:
                self._fill(made, field, depth)
        return made

    def changed(self, whole: bytes) -> bytes:
        """Returns bytes that are nearly those of a message."""
        mutate: Callable[[bytearray], object] = self._random.choice(
            (self._flip, self._cut, self._double, self._insert, self._varint, self._unknown, self._deepen, self._swap)
        )
        changed = bytearray(whole)
        for _ in range(self._random.choice((1, 1, 2, 5))):
            mutate(changed)
        return bytes(changed)

    def _fill(self, made: Any, field: FieldDescriptor, depth: int) -> None:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            self._fill_map(getattr(made, field.name), field.message_type, depth)
        elif field.is_repeated:
            few = self._random.choice((0, 1, 1, 2, 3, 65 if depth else 3))
            many = _MANY if depth == 0 and self._random.random() < 0.02 else few
            for _ in range(many):
                values = getattr(made, field.name)
                if field.message_type is None:
                    values.append(self._scalar(field))
                elif depth < _DEEPEST:
                    values.add().CopyFrom(self.message(field.message_type, depth + 1))
        elif field.message_type is None:
            setattr(made, field.name, self._scalar(field))
        elif depth < _DEEPEST:
            getattr(made, field.name).CopyFrom(self.message(field.message_type, depth + 1))

    def _fill_map(self, values: Any, entry: Descriptor, depth: int) -> None:
        key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
        for _ in range(self._random.choice((0, 1, 3))):
            if value.message_type is None:
                values[self._scalar(key)] = self._scalar(value)
            elif depth < _DEEPEST:
                values[self._scalar(key)].CopyFrom(self.message(value.message_type, depth + 1))

    def _scalar(self, field: FieldDescriptor) -> Any:
        kind, draw = field.cpp_type, self._random
        if kind in _INTEGERS:
            least, most = _INTEGERS[kind]
            return draw.choice((least, least + 1, 0, 1, 2, 10, 224, 2**15, most - 1, most, draw.randint(least, most)))
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            return draw.choice([*field.enum_type.values_by_number, 99, -1, 2**31 - 1, -(2**31)])
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return draw.random() < 0.5
        if kind == FieldDescriptor.CPPTYPE_FLOAT:
            return draw.choice(_FLOATS)
        if kind == FieldDescriptor.CPPTYPE_DOUBLE:
            return draw.choice(_DOUBLES)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return draw.choice((*self._content, b"", self._noise()))
        return self._text()

    def _text(self) -> str:
        kind = self._random.random()
        if kind < 0.6:
            return self._random.choice(self._known)
        if kind < 0.95:
            return self._random.choice(_TEXTS)
        if kind < 0.97:
            return self._random.choice("aé\u202e/") * self._random.choice((65, 257, _LONG))
        return "".join(chr(self._random.choice((self._random.randrange(128), self._random.randrange(0xD800)))) for _ in range(9))

    def _noise(self) -> bytes:
        return self._random.randbytes(self._random.choice((0, 1, 2, 7, 64, 1_000, 20_000)))

    def _at(self, whole: bytearray) -> int:
        return self._random.randrange(len(whole) + 1)

    def _flip(self, whole: bytearray) -> None:
        if whole:
            whole[self._random.randrange(len(whole))] ^= 1 << self._random.randrange(8)

    def _cut(self, whole: bytearray) -> None:
        del whole[self._at(whole) :]

    def _double(self, whole: bytearray) -> None:
        whole += whole[self._at(whole) :]

    def _insert(self, whole: bytearray) -> None:
        at = self._at(whole)
        whole[at:at] = self._random.choice((b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\0", self._random.randbytes(3)))

    def _varint(self, whole: bytearray) -> None:
        at = self._at(whole)
        whole[at : at + 1] = self._random.choice(_VARINTS)

    def _unknown(self, whole: bytearray) -> None:
        number = self._random.choice((99, 1_000, 19_000, 2**29 - 1))
        tag, head = number << 3, b""
        while tag >= 128:
            head += bytes([tag % 128 + 128])
            tag //= 128
        whole += head + bytes([tag]) + b"\x01"

    def _deepen(self, whole: bytearray) -> None:
        if self._random.random() < 0.5:
            whole += _DEEP
            return
        inner = bytes(whole[:100])
        for _ in range(self._random.choice((20, 150))):
            if len(inner) > 120:
                break
            inner = b"\x0a" + bytes([len(inner)]) + inner
        whole[:] = inner

    def _swap(self, whole: bytearray) -> None:
        if whole:
            one, other = self._random.randrange(len(whole)), self._random.randrange(len(whole))
            whole[one], whole[other] = whole[other], whole[one]
