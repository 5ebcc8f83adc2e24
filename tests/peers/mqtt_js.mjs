// What MQTT.js does with a broker, the same in Node and in a page: each QoS, sizes around WebSocket's frame lengths,
// retained messages, a session that stays, a will.

const bytes = (data) => (globalThis.Buffer ? Buffer.from(data) : data);
const SIZES = [0, 1, 125, 126, 127, 5_000, 65_536, 300_000];

function connected(mqtt, url, options) {
  return new Promise((resolve, reject) => {
    const client = mqtt.connect(url, { reconnectPeriod: 0, connectTimeout: 20_000, ...options });
    client.messages = [];
    client.waiting = [];
    client.on("message", (topic, payload, packet) => {
      client.messages.push({ topic, payload, packet });
      client.waiting.splice(0).forEach((wake) => wake());
    });
    client.on("connect", (connack) => resolve([client, connack]));
    client.on("error", reject);
  });
}

// The next message that fits, taken out of those that have come.
async function message(client, fits, what) {
  for (;;) {
    const at = client.messages.findIndex(fits);
    if (at >= 0) return client.messages.splice(at, 1)[0];
    await new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`in vain: ${what}`)), 20_000);
      client.waiting.push(() => (clearTimeout(late), resolve()));
    });
  }
}

function check(condition, what) {
  if (!condition) throw new Error(what);
}

function filled(size, byte) {
  return new Uint8Array(size).fill(byte);
}

async function eachQos(mqtt, url, version) {
  const [client] = await connected(mqtt, url, { protocolVersion: version, clientId: `js-${version}` });
  const [granted] = await client.subscribeAsync("js/#", { qos: 2 });
  check(granted.qos === 2, `granted ${granted.qos}`);
  const properties = {
    payloadFormatIndicator: false,
    messageExpiryInterval: 60,
    contentType: "application/octet-stream",
    responseTopic: "js/answer",
    correlationData: globalThis.Buffer ? Buffer.from([1, 0, 255]) : undefined,
    userProperties: { unit: "°C", site: ["a", "b"] },
  };
  let count = 0;
  for (const qos of [0, 1, 2]) {
    for (const size of SIZES) {
      const options = version === 5 ? { qos, properties } : { qos };
      await client.publishAsync(`js/${qos}/${size}`, bytes(filled(size, qos + 1)), options);
      const got = await message(client, () => true, `${size} bytes at QoS ${qos}`);
      check(got.topic === `js/${qos}/${size}` && got.packet.qos === qos, `${got.topic} came`);
      check(got.payload.length === size, `${got.payload.length} of ${size} bytes`);
      check(got.payload.every((byte) => byte === qos + 1), "other bytes");
      if (version === 5) {
        const user = got.packet.properties.userProperties;
        check(user.unit === "°C" && [...user.site].join() === "a,b", JSON.stringify(user));
        check(got.packet.properties.responseTopic === "js/answer", "the response topic");
      }
      count += 1;
    }
  }
  await client.endAsync();
  return count;
}

async function retained(mqtt, url, version) {
  const [client] = await connected(mqtt, url, { protocolVersion: version });
  await client.publishAsync("kept/js", "stands", { qos: 1, retain: true });
  await client.subscribeAsync("kept/js", { qos: 1 });
  const got = await message(client, () => true, "what is retained");
  check(got.packet.retain && got.payload.toString() === "stands", "it is retained");
  await client.publishAsync("kept/js", "", { qos: 1, retain: true });
  await client.endAsync();
}

async function session(mqtt, url, version) {
  const staying = {
    protocolVersion: version,
    clientId: `js-stays-${version}`,
    clean: false,
    properties: version === 5 ? { sessionExpiryInterval: 100 } : undefined,
  };
  let [client, connack] = await connected(mqtt, url, staying);
  check(!connack.sessionPresent, "there was a session");
  await client.subscribeAsync("waits/js", { qos: 2 });
  await client.endAsync();
  const [other] = await connected(mqtt, url, { protocolVersion: version });
  for (const number of [1, 2, 3]) await other.publishAsync("waits/js", `${number}`, { qos: 2 });
  await other.endAsync();
  [client, connack] = await connected(mqtt, url, staying);
  check(connack.sessionPresent, "the session is gone");
  for (const number of [1, 2, 3]) {
    const got = await message(client, () => true, "what waited");
    check(got.payload.toString() === `${number}`, `${got.payload} instead of ${number}`);
  }
  await client.endAsync();
  // A clean start throws it away.
  [client, connack] = await connected(mqtt, url, { ...staying, clean: true, properties: undefined });
  check(!connack.sessionPresent, "the session is still there");
  await client.endAsync();
}

async function will(mqtt, url, version) {
  const [watcher] = await connected(mqtt, url, { protocolVersion: version });
  await watcher.subscribeAsync("will/js", { qos: 1 });
  const last = { topic: "will/js", payload: bytes("gone"), qos: 1, retain: false };
  const [mortal] = await connected(mqtt, url, { protocolVersion: version, will: last });
  // Forced: no DISCONNECT.
  mortal.end(true);
  const got = await message(watcher, () => true, "the will");
  check(got.payload.toString() === "gone", `${got.payload}`);
  await watcher.endAsync();
}

// Gives what was done; throws what went wrong.
export async function converse(mqtt, url, version) {
  const messages = await eachQos(mqtt, url, version);
  await retained(mqtt, url, version);
  await session(mqtt, url, version);
  await will(mqtt, url, version);
  return { version, messages };
}
