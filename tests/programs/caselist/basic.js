// Unary calls, statuses and metadata.
'use strict';

const assert = require('node:assert/strict');
const grpc = require('@grpc/grpc-js');
const {
  DOWNLOADS, RESPONSE, UPLOADS, UnimplementedService,
  collected, deadline, hasSize, large, largeRequest, refusal, turn, unary, withClient,
} = require('./contract.js');

const PLAIN = 'test status message';
const SPECIAL = '\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \u{1f608}\t\n';

const INITIAL = 'x-grpc-test-echo-initial';
const TRAILING = 'x-grpc-test-echo-trailing-bin';
const TEXT = 'test_initial_metadata_value';
const BYTES = Buffer.from([0xab, 0xab, 0xab]);

async function emptyUnary(client) {
  const { answer } = await unary(client, 'EmptyCall', {});
  assert.deepEqual({ ...answer }, {});
}

function isUnknown(error, message) {
  assert.equal(error.code, grpc.status.UNKNOWN, String(error));
  assert.equal(error.details, message);
}

const wanted = (message) => ({ responseStatus: { code: grpc.status.UNKNOWN, message } });

async function unaryStatus(client, message) {
  isUnknown(await refusal(unary(client, 'UnaryCall', wanted(message))), message);
}

async function statusCodeAndMessage(client) {
  await unaryStatus(client, PLAIN);
  const call = client.FullDuplexCall(deadline());
  call.end(wanted(PLAIN));
  isUnknown(await refusal(collected(call)), PLAIN);
}

async function customMetadata(client) {
  const metadata = new grpc.Metadata();
  metadata.add(INITIAL, TEXT);
  metadata.add(TRAILING, BYTES);
  const sentBack = (headers, trailers) => {
    assert.deepEqual(headers.get(INITIAL), [TEXT]);
    assert.deepEqual(trailers.get(TRAILING), [BYTES]);
  };

  const { answer, headers, trailers } = await unary(client, 'UnaryCall', largeRequest(), { metadata });
  hasSize(answer, RESPONSE);
  sentBack(headers, trailers);

  const call = client.FullDuplexCall(metadata, deadline());
  const began = new Promise((resolve) => call.on('metadata', resolve));
  const ended = new Promise((resolve) => call.on('status', resolve));
  call.end(turn(UPLOADS[0], DOWNLOADS[0]));
  const answers = await collected(call);
  assert.equal(answers.length, 1);
  sentBack(await began, (await ended).metadata);
}

async function unimplemented(client) {
  const error = await refusal(unary(client, 'UnimplementedCall', {}));
  assert.equal(error.code, grpc.status.UNIMPLEMENTED, String(error));
}

module.exports = {
  empty_unary: (address) => withClient(address, emptyUnary),
  large_unary: (address) => withClient(address, (client) => large(client)),
  status_code_and_message: (address) => withClient(address, statusCodeAndMessage),
  special_status_message: (address) => withClient(address, (client) => unaryStatus(client, SPECIAL)),
  custom_metadata: (address) => withClient(address, customMetadata),
  unimplemented_method: (address) => withClient(address, unimplemented),
  unimplemented_service: (address) => withClient(address, unimplemented, { Service: UnimplementedService }),
};
