"""paho-mqtt publishes and gets its own messages back: each QoS, small payloads and large ones.

round_trip.py PORT|PATH [--transport tcp|websockets|unix] [--ca FILE] [--cert FILE --key FILE] [--version 3|5]

Exits 0 when all came back as they left, in order; otherwise 1 with a word on standard error.
"""

import argparse
import sys

import paho.mqtt.client as mqtt

PAYLOADS = [(qos, bytes([qos]) * size) for qos in (0, 1, 2) for size in (0, 1, 125, 126, 5_000, 70_000, 300_000)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("place")
    parser.add_argument("--transport", default="tcp")
    parser.add_argument("--ca")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--version", type=int, choices=(3, 5), default=5)
    args = parser.parse_args()
    protocol = mqtt.MQTTv5 if args.version == 5 else mqtt.MQTTv311
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=protocol, transport=args.transport)
    if args.ca:
        client.tls_set(args.ca, args.cert, args.key)
    got = []

    def on_connect(client, _userdata, _flags, reason, _properties):
        if reason.is_failure:
            sys.exit(f"refused: {reason}")
        client.subscribe("round/trip", 2)

    def on_subscribe(client, *_):
        for qos, payload in PAYLOADS:
            client.publish("round/trip", payload, qos)

    def on_message(client, _userdata, message):
        got.append((message.qos, message.payload))
        if len(got) == len(PAYLOADS):
            client.disconnect()

    client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
    if args.transport == "unix":
        client.connect(args.place, 1, keepalive=10)
    else:
        client.connect("127.0.0.1", int(args.place), keepalive=10)
    client.loop_forever()
    if got != PAYLOADS:
        sys.exit(f"{len(got)} of {len(PAYLOADS)} came back, or not as they left")


main()
