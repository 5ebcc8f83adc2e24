"""An MQTT subscriber by paho-mqtt: one JSON line for each message.

subscriber.py PORT FILTER [--host H] [--client ID] [--qos 0|1|2] [--version 3|5]

The session is kept over connections and restarts under the same client id. {"subscribed": true} comes first, and again
after each reconnection. A payload that is no UTF-8 comes as "payload_hex". SIGTERM disconnects in good order.
"""

import argparse
import json
import signal

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("filter")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--client", default="subscriber")
    parser.add_argument("--qos", type=int, choices=(0, 1, 2), default=2)
    parser.add_argument("--version", type=int, choices=(3, 5), default=5)
    return parser.parse_args()


def say(**words):
    print(json.dumps(words), flush=True)


def main():
    args = arguments()
    five = args.version == 5
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=args.client,
        protocol=mqtt.MQTTv5 if five else mqtt.MQTTv311,
        clean_session=None if five else False,
    )

    def on_connect(client, _userdata, _flags, reason, _properties):
        if reason.is_failure:
            say(refused=str(reason))
        else:
            client.subscribe(args.filter, args.qos)

    def on_subscribe(_client, _userdata, _mid, reasons, _properties):
        say(subscribed=not any(reason.is_failure for reason in reasons))

    def on_message(_client, _userdata, message):
        try:
            payload = {"payload": message.payload.decode()}
        except UnicodeDecodeError:
            payload = {"payload_hex": message.payload.hex()}
        flags = {"qos": message.qos, "retain": message.retain, "dup": message.dup, "mid": message.mid}
        say(topic=message.topic, **payload, **flags)

    client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
    client.reconnect_delay_set(min_delay=1, max_delay=1)
    signal.signal(signal.SIGTERM, lambda *_: client.disconnect())
    session = {}
    if five:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        session = {"clean_start": False, "properties": properties}
    client.connect_async(args.host, args.port, keepalive=10, **session)
    client.loop_forever(retry_first_connection=True)


main()
