// A gRPC program as its authors would write it: grpc-js, a port, addresses of others in the environment.
'use strict';

const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const definition = loader.loadSync(path.join(__dirname, 'greeter.proto'), { arrays: true, defaults: true });
const { Greeter } = grpc.loadPackageDefinition(definition).greeter.v1;

const clients = new Map();

function client(name) {
  if (!clients.has(name)) {
    const address = process.env[`OUTRIGGER_UPSTREAM_${name.toUpperCase()}_ADDR`];
    clients.set(name, new Greeter(address, grpc.credentials.createInsecure()));
  }
  return clients.get(name);
}

function greet(call, callback) {
  const { name, via } = call.request;
  if (via.length === 0) {
    callback(null, { text: `node(hello ${name})` });
    return;
  }
  const metadata = new grpc.Metadata();
  for (const value of call.metadata.get('traceparent')) metadata.add('traceparent', value);
  const [first, ...rest] = via;
  client(first).Greet({ name, via: rest }, metadata, { deadline: call.getDeadline() }, (error, answer) => {
    if (error) callback(error);
    else callback(null, { text: `node(${answer.text})` });
  });
}

function chat(call) {
  call.on('data', (request) => call.write({ text: `node(hello ${request.name})` }));
  call.on('end', () => call.end());
}

function refuse(call, callback) {
  const trailers = new grpc.Metadata();
  trailers.add('x-why', call.request.name);
  callback({ code: grpc.status.FAILED_PRECONDITION, details: 'not today: é', metadata: trailers });
}

const server = new grpc.Server();
server.addService(Greeter.service, { Greet: greet, Chat: chat, Refuse: refuse });
server.bindAsync(`127.0.0.1:${process.env.PORT}`, grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
});
process.on('SIGTERM', () => server.tryShutdown(() => process.exit(0)));
