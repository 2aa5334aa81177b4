// Compressed messages. grpc-js tells nobody whether an answer came compressed, so of those the bytes alone are checked.
'use strict';

const assert = require('node:assert/strict');
const grpc = require('@grpc/grpc-js');
const {
  Partly, RESPONSE, collected, deadline, hasSize, largeRequest, payload, refusal, unary, withClient,
} = require('./contract.js');

const UPLOADS = [27182, 45904];
const DOWNLOADS = [31415, 92653];
const GZIP = { 'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip };

// `WriteFlags.NoCompress`, which the package does not export.
const NO_COMPRESS = 2;

// A channel compresses all messages but those it is told not to.
const withGzip = (address, run) => withClient(address, run, GZIP);

const wish = (value) => ({ value });

function isRefused(error) {
  assert.equal(error.code, grpc.status.INVALID_ARGUMENT, String(error));
}

async function expecting(client, compressed) {
  const { answer } = await unary(client, 'UnaryCall', largeRequest({ expectCompressed: wish(compressed) }));
  hasSize(answer, RESPONSE);
}

async function clientUnary(address) {
  await withClient(address, async (client) => isRefused(await refusal(expecting(client, true))));
  await withGzip(address, (client) => expecting(client, true));
  await withClient(address, (client) => expecting(client, false));
}

// What a stream of both messages is answered, the first alone expected compressed.
function uploaded(client, flags) {
  return new Promise((resolve, reject) => {
    const call = client.StreamingInputCall(deadline(), (error, answer) => (error ? reject(error) : resolve(answer)));
    UPLOADS.forEach((size, index) => {
      const compressed = index === 0;
      // Flags of a message stand where streams of Node have the encoding of a string.
      call.write({ payload: payload(size), expectCompressed: wish(compressed) }, compressed ? 0 : flags);
    });
    call.end();
  });
}

async function clientStreaming(address) {
  await withClient(address, async (client) => isRefused(await refusal(uploaded(client, 0))));
  const answer = await withGzip(address, (client) => uploaded(client, NO_COMPRESS));
  assert.equal(answer.aggregatedPayloadSize, 73086);
}

async function serverUnary(client) {
  for (const compressed of [true, false]) {
    const { answer } = await unary(client, 'UnaryCall', largeRequest({ responseCompressed: wish(compressed) }));
    hasSize(answer, RESPONSE);
  }
  throw new Partly();
}

async function downloads(client, flags) {
  const responseParameters = DOWNLOADS.map((size, index) => ({ size, compressed: wish(flags[index]) }));
  const answers = await collected(client.StreamingOutputCall({ responseParameters }, deadline()));
  assert.deepEqual(answers.map((answer) => answer.payload.body.length), DOWNLOADS);
}

async function serverStreaming(client) {
  try {
    await downloads(client, [true, false]);
  } catch (error) {
    // A server that cannot leave a message of a stream alone says so, and is asked for compressed ones.
    if (error.code !== grpc.status.UNIMPLEMENTED) throw error;
    await downloads(client, [true, true]);
  }
  throw new Partly();
}

module.exports = {
  client_compressed_unary: clientUnary,
  client_compressed_streaming: clientStreaming,
  server_compressed_unary: (address) => withClient(address, serverUnary),
  server_compressed_streaming: (address) => withClient(address, serverStreaming),
};
