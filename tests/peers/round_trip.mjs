// MQTT.js in Node: round_trip.mjs MODULES URL VERSION. Prints what was done; exits 1 with a word on standard error.

import { createRequire } from "node:module";

import { converse } from "./mqtt_js.mjs";

const [modules, url, version] = process.argv.slice(2);
const mqtt = createRequire(`${modules}/`)("mqtt");
try {
  console.log(JSON.stringify(await converse(mqtt, url, Number(version))));
  process.exit(0);
} catch (error) {
  console.error(error);
  process.exit(1);
}
