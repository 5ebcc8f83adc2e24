"""Values as pymodbus puts them into registers, a JSON line each.

pymodbus_registers.py SEED COUNT

A line is {"type": "INT32", "word_order": "big", "encoding": "utf-8", "registers": [0, 1], "value": 1}. A list of values is
one line as well.
"""

import json
import random
import struct
import sys

from pymodbus.client.mixin import ModbusClientMixin

TYPES = ModbusClientMixin.DATATYPE
ENCODINGS = ["ascii", "latin-1", "utf-8", "utf-16-be"]
LETTERS = {"ascii": "aZ9 _", "latin-1": "aü°ß", "utf-8": "aü€😀", "utf-16-be": "aü€😀"}


def value(kind, encoding):
    name = kind.name
    if name.startswith("INT"):
        bits = int(name[3:])
        return random.choice([random.getrandbits(bits) - 2 ** (bits - 1), -1, 0, -(2 ** (bits - 1))])
    if name.startswith("UINT"):
        return random.choice([random.getrandbits(int(name[4:])), 0, 2 ** int(name[4:]) - 1])
    if name == "FLOAT32":
        # A single as a double, so that both sides mean the same number.
        return struct.unpack(">f", struct.pack(">f", random.uniform(-1e6, 1e6)))[0]
    if name == "FLOAT64":
        return random.uniform(-1e300, 1e300)
    return "".join(random.choices(LETTERS[encoding], k=random.randint(1, 12))).strip() or "a"


def main():
    random.seed(int(sys.argv[1]))
    kinds = [kind for kind in TYPES if kind is not TYPES.BITS]
    for index in range(int(sys.argv[2])):
        kind, encoding = kinds[index % len(kinds)], random.choice(ENCODINGS)
        is_text = kind is TYPES.STRING
        word_order = "big" if is_text else random.choice(["big", "little"])
        is_list = not is_text and random.random() < 0.3
        told = [value(kind, encoding) for _ in range(3)] if is_list else value(kind, encoding)
        registers = []
        # One by one: the words of each value are turned, not those of the list.
        for one in told if is_list else [told]:
            registers += ModbusClientMixin.convert_to_registers(
                one, kind, word_order=word_order, string_encoding=encoding
            )
        line = {"type": kind.name, "word_order": word_order, "encoding": encoding}
        print(json.dumps(line | {"registers": registers, "value": told}))


main()
