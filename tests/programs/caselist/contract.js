// The contract `testing.proto`, and what the cases have in common.
'use strict';

const assert = require('node:assert/strict');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const definition = loader.loadSync(path.join(__dirname, 'testing.proto'), { arrays: true, defaults: true });
const { TestService, UnimplementedService } = grpc.loadPackageDefinition(definition).grpc.testing;

// Bytes that the large calls and the streams carry there and back.
const REQUEST = 271828;
const RESPONSE = 314159;
const UPLOADS = [27182, 8, 1828, 45904];
const DOWNLOADS = [31415, 9, 2653, 58979];

// No call takes longer on a busy machine; one that hangs does.
const SLOWEST = 60_000;

// Nothing is wrong with what this stack and the server can do of the case; the suite's table says what they cannot.
class Partly extends Error {}

// A channel of its own: those of a process would otherwise share a connection.
async function withClient(address, run, { Service = TestService, ...options } = {}) {
  const client = new Service(address, grpc.credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1, ...options });
  try {
    return await run(client);
  } finally {
    client.close();
  }
}

const deadline = (patience = SLOWEST) => ({ deadline: Date.now() + patience });

// The answer of a unary call, or its status as an error.
function unary(client, method, request, { metadata = new grpc.Metadata(), patience } = {}) {
  return new Promise((resolve, reject) => {
    const seen = {};
    const call = client[method](request, metadata, deadline(patience), (error, answer) => {
      seen.answer = answer;
      if (error) reject(error);
    });
    call.on('metadata', (headers) => (seen.headers = headers));
    // It comes last.
    call.on('status', (status) => status.code === grpc.status.OK && resolve({ ...seen, trailers: status.metadata }));
  });
}

// The status of a promised answer that has to fail.
async function refusal(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  return assert.fail('the call was answered');
}

// All answers of a stream, or its status as an error.
async function collected(call) {
  const answers = [];
  for await (const answer of call) answers.push(answer);
  return answers;
}

const payload = (size) => ({ body: Buffer.alloc(size) });

const largeRequest = (more) => ({ responseSize: RESPONSE, payload: payload(REQUEST), ...more });

const turn = (upload, download) => ({ responseParameters: [{ size: download }], payload: payload(upload) });

function hasSize(answer, size) {
  assert.equal(answer.payload.body.length, size, 'size');
}

async function large(client, patience) {
  const { answer } = await unary(client, 'UnaryCall', largeRequest(), { patience });
  hasSize(answer, RESPONSE);
}

module.exports = {
  DOWNLOADS, Partly, RESPONSE, UPLOADS, UnimplementedService,
  collected, deadline, hasSize, large, largeRequest, payload, refusal, turn, unary, withClient,
};
