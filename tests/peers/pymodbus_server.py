"""A Modbus server by pymodbus: the devices of the tests.

pymodbus_server.py (--tcp | --rtu TTY) [--baud N] [--parity N|E|O] [--unit ID] [--bank JSON]
                   [--counter ADDRESS] [--log FILE]

The bank is {"coil": {"4": 1}, "discrete": {}, "holding": {"100": 215}, "input": {}}: table, address from 0, value.
Registers that are not in it are answered with exception 2. The counter is a pair of holding registers, high word
first, that grows by one with each read of both; the value answered goes to the log, a line each.
With --tcp a free port of 127.0.0.1 is taken. "ready PORT" (or "ready TTY") on standard output says that it answers.
"""

import argparse
import asyncio
import json

from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


def arguments():
    parser = argparse.ArgumentParser()
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--tcp", action="store_true")
    place.add_argument("--rtu", metavar="TTY")
    parser.add_argument("--baud", type=int, default=9600)
    parser.add_argument("--parity", choices="NEO", default="N")
    parser.add_argument("--unit", type=int, default=1)
    parser.add_argument("--bank", type=json.loads, default={})
    parser.add_argument("--counter", type=int)
    parser.add_argument("--log", default="/dev/null")
    return parser.parse_args()


def table(bank, name, convert, datatype):
    values = {int(address): convert(value) for address, value in bank.get(name, {}).items()}
    # pymodbus wants at least one entry in each table.
    values = values or {65535: convert(0)}
    return [SimData(a, values=v, datatype=datatype) for a, v in sorted(values.items())]


def counting(address, log):
    """The action of a device whose registers at `address` count their reads."""

    async def action(function, start, first, count, registers, written):
        if function == 3 and written is None and first <= address and address + 2 <= first + count:
            at = address - start
            value = ((registers[at] << 16 | registers[at + 1]) + 1) & 0xFFFFFFFF
            registers[at : at + 2] = [value >> 16, value & 0xFFFF]
            print(value, file=log, flush=True)
        return None

    return action


def device(args, log):
    bank = args.bank
    if args.counter is not None:
        holding = bank.setdefault("holding", {})
        for address in (args.counter, args.counter + 1):
            holding.setdefault(str(address), 0)
    return SimDevice(
        args.unit,
        simdata=(
            table(bank, "coil", bool, DataType.BITS),
            table(bank, "discrete", bool, DataType.BITS),
            table(bank, "holding", int, DataType.UINT16),
            table(bank, "input", int, DataType.UINT16),
        ),
        action=None if args.counter is None else counting(args.counter, log),
    )


async def main():
    args = arguments()
    with open(args.log, "a", encoding="utf-8") as log:
        if args.tcp:
            server = ModbusTcpServer(device(args, log), address=("127.0.0.1", 0))
        else:
            server = ModbusSerialServer(
                device(args, log),
                framer=FramerType.RTU,
                port=args.rtu,
                baudrate=args.baud,
                parity=args.parity,
                # A line has other units, too: no answer in their names.
                ignore_missing_devices=True,
            )
        await server.serve_forever(background=True)
        place = server.transport.sockets[0].getsockname()[1] if args.tcp else args.rtu
        print("ready", place, flush=True)
        await server.serving


asyncio.run(main())
