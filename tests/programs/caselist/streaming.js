// Streams, and calls that end before they are answered.
'use strict';

const assert = require('node:assert/strict');
const grpc = require('@grpc/grpc-js');
const { DOWNLOADS, UPLOADS, collected, deadline, hasSize, payload, refusal, turn, withClient } = require('./contract.js');

// A call that streams its requests and gets one answer: the call, and the answer as a promise.
function upload(client) {
  let call;
  const answer = new Promise((resolve, reject) => {
    call = client.StreamingInputCall(deadline(), (error, value) => (error ? reject(error) : resolve(value)));
  });
  return { call, answer };
}

async function clientStreaming(client) {
  const { call, answer } = upload(client);
  for (const size of UPLOADS) call.write({ payload: payload(size) });
  call.end();
  assert.equal((await answer).aggregatedPayloadSize, 74922);
}

async function serverStreaming(client) {
  const responseParameters = DOWNLOADS.map((size) => ({ size }));
  const answers = await collected(client.StreamingOutputCall({ responseParameters }, deadline()));
  assert.deepEqual(answers.map((answer) => answer.payload.body.length), DOWNLOADS);
}

async function pingPong(client) {
  const call = client.FullDuplexCall(deadline());
  const answers = call[Symbol.asyncIterator]();
  for (const [index, size] of UPLOADS.entries()) {
    call.write(turn(size, DOWNLOADS[index]));
    hasSize((await answers.next()).value, DOWNLOADS[index]);
  }
  call.end();
  assert.equal((await answers.next()).done, true);
}

async function emptyStream(client) {
  const call = client.FullDuplexCall(deadline());
  call.end();
  assert.deepEqual(await collected(call), []);
}

async function timeoutOnSleepingServer(client) {
  const call = client.FullDuplexCall({ deadline: Date.now() + 1 });
  call.write({ payload: payload(UPLOADS[0]) });
  const error = await refusal(collected(call));
  assert.equal(error.code, grpc.status.DEADLINE_EXCEEDED, String(error));
}

async function cancelAfterBegin(client) {
  const { call, answer } = upload(client);
  call.cancel();
  const error = await refusal(answer);
  assert.equal(error.code, grpc.status.CANCELLED, String(error));
}

async function cancelAfterFirstResponse(client) {
  const call = client.FullDuplexCall(deadline());
  const answers = call[Symbol.asyncIterator]();
  call.write(turn(UPLOADS[0], DOWNLOADS[0]));
  hasSize((await answers.next()).value, DOWNLOADS[0]);
  call.cancel();
  const error = await refusal(answers.next());
  assert.equal(error.code, grpc.status.CANCELLED, String(error));
}

const onClient = (run) => (address) => withClient(address, run);

module.exports = {
  client_streaming: onClient(clientStreaming),
  server_streaming: onClient(serverStreaming),
  ping_pong: onClient(pingPong),
  empty_stream: onClient(emptyStream),
  timeout_on_sleeping_server: onClient(timeoutOnSleepingServer),
  cancel_after_begin: onClient(cancelAfterBegin),
  cancel_after_first_response: onClient(cancelAfterFirstResponse),
};
