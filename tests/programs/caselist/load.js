// Large unary calls: many one after the other, each on a channel of its own, at once, and with pauses between them.
'use strict';

const timers = require('node:timers/promises');
const { large, withClient } = require('./contract.js');

// Calls that a soak has open at once.
const WORKERS = 10;

// Milliseconds of calls that are made at once: each may take as long as all of them together.
const TOGETHER = 600_000;

// Calls of the channel that lives long.
const CALLS = 8;

// Calls `one` so many times, from as many workers as there are.
async function repeated(count, one) {
  let left = count;
  const worker = async () => {
    while (left > 0) {
      left -= 1;
      await one();
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, worker));
}

// `millis` from the end of a call to the next.
async function longLived(client, millis) {
  for (let index = 0; index < CALLS; index += 1) {
    if (index > 0) await timers.setTimeout(millis);
    await large(client);
  }
}

module.exports = {
  rpc_soak: (address, calls) => withClient(address, (client) => repeated(calls, () => large(client))),
  channel_soak: (address, channels) => repeated(channels, () => withClient(address, (client) => large(client))),
  concurrent_large_unary: (address, calls) =>
    withClient(address, (client) => Promise.all(Array.from({ length: calls }, () => large(client, TOGETHER)))),
  long_lived_channel: (address, millis) => withClient(address, (client) => longLived(client, millis)),
};
