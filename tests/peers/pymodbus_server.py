"""A Modbus server by pymodbus: the devices of the tests.

pymodbus_server.py (--tcp | --udp | --tls CERTIFICATE KEY CA | --rtu TTY | --ascii TTY) [--framer socket|rtu|ascii]
                   [--baud N] [--parity N|E|O] [--unit ID] [--also ID] [--silent]
                   [--bank JSON] [--counter ADDRESS] [--log FILE]

The bank is {"coil": {"4": 1}, "discrete": {}, "holding": {"100": 215}, "input": {}}: table, address from 0, value.
Registers that are not in it are answered with exception 2. --also adds a unit with the same bank. Other units are silent
on a serial port and with --silent; elsewhere they are refused with exception 11. The counter is a pair of holding registers,
high word first, that grows by one with each read of both; the value answered goes to the log, a line each. All of them say
what they are when they are asked: vendor "Peer", product code "PM", version "3", and a product name.
With --tcp, --udp and --tls a free port of 127.0.0.1 is taken; --framer says what goes over --tcp; --tls wants a
certificate of the client that CA has signed. "ready PORT" (or "ready TTY") on standard output says that it answers.
"""

import argparse
import asyncio
import json
import ssl

from pymodbus import FramerType, ModbusDeviceIdentification
from pymodbus.exceptions import NoSuchIdException
from pymodbus.server import ModbusSerialServer, ModbusTcpServer, ModbusTlsServer, ModbusUdpServer
from pymodbus.simulator import DataType, SimData, SimDevice


def arguments():
    parser = argparse.ArgumentParser()
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--tcp", action="store_true")
    place.add_argument("--udp", action="store_true")
    place.add_argument("--tls", nargs=3, metavar=("CERTIFICATE", "KEY", "CA"))
    place.add_argument("--rtu", metavar="TTY")
    place.add_argument("--ascii", metavar="TTY")
    parser.add_argument("--framer", choices=("socket", "rtu", "ascii"), default="socket")
    parser.add_argument("--baud", type=int, default=9600)
    parser.add_argument("--parity", choices="NEO", default="N")
    parser.add_argument("--unit", type=int, default=1)
    parser.add_argument("--also", type=int, action="append", default=[])
    parser.add_argument("--silent", action="store_true")
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


def devices(args, log):
    bank = args.bank
    if args.counter is not None:
        holding = bank.setdefault("holding", {})
        for address in (args.counter, args.counter + 1):
            holding.setdefault(str(address), 0)
    return [
        SimDevice(
            unit,
            simdata=(
                table(bank, "coil", bool, DataType.BITS),
                table(bank, "discrete", bool, DataType.BITS),
                table(bank, "holding", int, DataType.UINT16),
                table(bank, "input", int, DataType.UINT16),
            ),
            action=None if args.counter is None else counting(args.counter, log),
        )
        for unit in (args.unit, *args.also)
    ]


def identity():
    return ModbusDeviceIdentification(
        info_name={
            "VendorName": "Peer",
            "ProductCode": "PM",
            "MajorMinorRevision": "3",
            "ProductName": "pymodbus device",
        }
    )


def secured(certificate, key, ca):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def server_of(args, log):
    here, who = ("127.0.0.1", 0), identity()
    if args.tcp:
        return ModbusTcpServer(
            devices(args, log),
            framer=FramerType(args.framer),
            address=here,
            identity=who,
            ignore_missing_devices=args.silent,
        )
    if args.udp:
        return ModbusUdpServer(devices(args, log), address=here, identity=who)
    if args.tls:
        # Its own framer for TLS leaves the header out, which Modbus/TCP Security does not.
        context = secured(*args.tls)
        return ModbusTlsServer(devices(args, log), framer=FramerType.SOCKET, address=here, identity=who, sslctx=context)
    return ModbusSerialServer(
        devices(args, log),
        framer=FramerType.ASCII if args.ascii else FramerType.RTU,
        port=args.ascii or args.rtu,
        baudrate=args.baud,
        parity=args.parity,
        identity=who,
        # A line has other units, too: no answer in their names.
        ignore_missing_devices=True,
    )


class Present(dict):
    """The devices there are: pymodbus looks for a device 0 where it should say that there is none."""

    def __missing__(self, _unit):
        raise NoSuchIdException


def place_of(args, server):
    if args.rtu or args.ascii:
        return args.rtu or args.ascii
    transport = server.transport
    if args.udp:
        return transport.get_extra_info("sockname")[1]
    return transport.sockets[0].getsockname()[1]


async def main():
    args = arguments()
    with open(args.log, "a", encoding="utf-8") as log:
        server = server_of(args, log)
        server.context.devices = Present(server.context.devices)
        await server.serve_forever(background=True)
        print("ready", place_of(args, server), flush=True)
        await server.serving


asyncio.run(main())
