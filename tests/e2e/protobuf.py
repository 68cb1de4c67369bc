"""Messages of protocol buffers to and from dicts: as much of the encoding as engine_cri.py needs.

    PERSON = {"name": (1, str), "ages": (2, [int]), "home": (4, {"street": (1, str)})}
    assert decode(PERSON, encode(PERSON, {"name": "a"})) == {"name": "a", "ages": [], "home": None}

A schema has the number and the type of each field, by name. A type is `int` (all integers that are not zigzag or fixed, and
enums), `bool`, `str`, `bytes` or a schema; a list of one type stands for a repeated field. A map is a repeated message with
the fields 1 and 2.
"""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def encode(schema, values):
    """A message of some of its fields. A name that the schema does not know is an error, not left out."""
    return b"".join(_field(*schema[name], value) for name, value in values.items())


def _field(number, kind, value):
    if isinstance(kind, list):
        # Never packed: what takes packed numbers takes these too.
        return b"".join(_field(number, kind[0], item) for item in value)
    if kind in (int, bool):
        # Negative numbers have ten bytes, as 64 bits do.
        return _varint(number << 3 | VARINT) + _varint(int(value) % 2**64)
    content = encode(kind, value) if isinstance(kind, dict) else value.encode() if kind is str else value
    return _varint(number << 3 | BYTES) + _varint(len(content)) + content


def _varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def decode(schema, data):
    """All fields of a schema; those that the message does not have are empty, messages None. Unknown ones are passed over."""
    values = {name: _empty(kind) for name, (_, kind) in schema.items()}
    names = {number: (name, kind) for name, (number, kind) in schema.items()}
    for number, wire, content in _fields(data):
        if number not in names:
            continue
        name, kind = names[number]
        if not isinstance(kind, list):
            values[name] = _value(kind, content)
        elif wire == BYTES and kind[0] in (int, bool):
            values[name] += [_value(kind[0], item) for item in _packed(content)]
        else:
            values[name].append(_value(kind[0], content))
    return values


def _empty(kind):
    return None if isinstance(kind, dict) else [] if isinstance(kind, list) else kind()


def _value(kind, content):
    if isinstance(kind, dict):
        return decode(kind, content)
    if kind is str:
        return content.decode()
    if kind is int:
        return content - 2**64 if content >= 2**63 else content
    return kind(content)


def _fields(data):
    """The number, the wire type and the content of each field: a number, or bytes."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        wire = key & 7
        if wire == VARINT:
            content, at = _read_varint(data, at)
        else:
            length = {FIXED64: 8, FIXED32: 4}.get(wire)
            if wire == BYTES:
                length, at = _read_varint(data, at)
            content, at = data[at : at + length], at + length
        if at > len(data):
            raise ValueError("a message that ends within a field")
        yield key >> 3, wire, content


def _packed(data):
    at = 0
    while at < len(data):
        number, at = _read_varint(data, at)
        yield number


def _read_varint(data, at):
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return number, at
