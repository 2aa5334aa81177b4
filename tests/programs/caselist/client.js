// grpc-js as client of the case list: `client.js HOST:PORT CASE[=SIZE]...`.
//
// Each case has a channel of its own. A line a case: its name and `ok`, `partly` or what went wrong.
'use strict';

const { Partly } = require('./contract.js');

const CASES = {
  ...require('./basic.js'),
  ...require('./streaming.js'),
  ...require('./compression.js'),
  ...require('./load.js'),
};

async function run(address, name, size) {
  try {
    await CASES[name](address, Number(size));
  } catch (error) {
    return error instanceof Partly ? 'partly' : String(error.stack).replaceAll('\n', ' | ');
  }
  return 'ok';
}

async function main([address, ...cases]) {
  for (const argument of cases) {
    const [name, size] = argument.split('=');
    console.log(name, await run(address, name, size));
  }
}

main(process.argv.slice(2));
