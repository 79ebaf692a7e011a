// A tiny frame for checks, as ../check.py: a name, a time limit, one line of result.
'use strict';

const amqp = require('amqplib');
const { randomBytes } = require('node:crypto');
const { isDeepStrictEqual, inspect } = require('node:util');

const URI = process.env.WARREN_URI;
const LIMIT = 60_000;

const checks = [];

/** Registers a check: an async function that is given a connection, closed afterwards. */
function check(name, run) {
  checks.push({ name, run });
}

function equal(actual, expected) {
  if (!isDeepStrictEqual(actual, expected)) {
    throw new Error(`got ${inspect(actual, { depth: 9 })}, expected ${inspect(expected, { depth: 9 })}`);
  }
}

/** Waits for a promise, but not for ever. */
async function within(promise, what, limit = 30_000) {
  let timer;
  const expired = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} after ${limit / 1000} s`)), limit);
  });
  return Promise.race([promise, expired]).finally(() => clearTimeout(timer));
}

function unique(stem) {
  return `compliance-${randomBytes(4).toString('hex')}-${stem}`;
}

/** Expects a promise to fail with the broker's code and text. */
async function refused(promise, code, text) {
  let error;
  await promise.catch((e) => { error = e; });
  if (!error) throw new Error(`accepted, expected ${code} ${text}`);
  if (error.code !== code || !error.message.includes(text)) {
    throw new Error(`refused with ${error.code} ${error.message}, expected ${code} ${text}`);
  }
}

async function connect(options = '') {
  const connection = await within(amqp.connect(URI + options), 'connection');
  // Errors are told to whoever waits; without a listener they would end the process.
  connection.on('error', () => {});
  return connection;
}

async function main() {
  let failed = false;
  for (const { name, run } of checks) {
    let connection;
    try {
      connection = await connect();
      await within(run(connection), 'end', LIMIT);
      console.log(`ok ${name}`);
    } catch (error) {
      failed = true;
      const where = (error.stack ?? '').match(/test_\w+\.js:\d+/)?.[0] ?? '';
      console.log(`not ok ${name}: ${String(error).replace(/\s+/g, ' ').slice(0, 600)} (${where})`);
    } finally {
      await within(connection?.close(), 'close').catch(() => {});
    }
  }
  process.exit(failed ? 1 : 0);
}

module.exports = { URI, check, connect, equal, main, refused, unique, within };
