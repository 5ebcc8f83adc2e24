"""An MQTT 5 requester by paho-mqtt: publishes requests and waits for the answer to each, told by its correlation data.

requester.py PORT RESPONSE_TOPIC TOPIC PAYLOAD [TOPIC PAYLOAD ...]

All requests leave at once at QoS 1, under correlation data that is no UTF-8. One JSON line for each answer, in the order of
the requests: which request it answers, the payload, and whether the correlation data came back as it was.
"""

import json
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE = 30


def main():
    port, response, *words = sys.argv[1:]
    requests = list(zip(words[::2], words[1::2]))
    tokens = [bytes([0xFF, 0, number]) for number in range(len(requests))]
    answers, strangers, done, ready = {}, [], threading.Event(), threading.Event()

    def on_connect(client, _userdata, _flags, reason, _properties):
        if reason.is_failure:
            sys.exit(f"refused: {reason}")
        client.subscribe(response, 1)

    def on_message(_client, _userdata, message):
        token = getattr(message.properties, "CorrelationData", None)
        known = answers if token in tokens else None
        if known is None:
            strangers.append(message.payload.decode())
        else:
            known.setdefault(token, []).append(message.payload.decode())
        if len(answers) == len(tokens):
            done.set()

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="requester", protocol=mqtt.MQTTv5)
    client.on_connect, client.on_message = on_connect, on_message
    client.on_subscribe = lambda *_: ready.set()
    client.connect("127.0.0.1", int(port))
    client.loop_start()
    if not ready.wait(PATIENCE):
        sys.exit("not subscribed")
    for token, (topic, payload) in zip(tokens, requests):
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic, properties.CorrelationData = response, token
        client.publish(topic, payload, qos=1, properties=properties)
    if not done.wait(PATIENCE):
        sys.exit(f"{len(answers)} of {len(tokens)} requests were answered")
    client.disconnect()
    for token in tokens:
        print(json.dumps({"answers": answers[token], "strangers": strangers}))


main()
