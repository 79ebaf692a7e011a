// amqplib's promise API.
'use strict';

const { randomBytes } = require('node:crypto');
const { once } = require('node:events');
const { check, connect, equal, main, refused, unique, within } = require('./check');

/** A channel whose errors are left to whoever waits for an answer. */
async function open(connection, confirm = false) {
  const channel = await (confirm ? connection.createConfirmChannel() : connection.createChannel());
  channel.on('error', () => {});
  return channel;
}

async function temporary(channel, options = {}) {
  return (await channel.assertQueue('', { exclusive: true, ...options })).queue;
}

/** The next `count` messages of a queue. */
async function take(channel, queue, count, options = { noAck: true }) {
  const messages = [];
  let tag;
  await within(new Promise((resolve, reject) => {
    channel.consume(queue, (message) => {
      messages.push(message);
      if (messages.length === count) resolve();
    }, options).then((ok) => { tag = ok.consumerTag; }, reject);
  }), `${count} messages`);
  if (tag) await channel.cancel(tag);
  return messages;
}

check('A4.1 assert, check, purge, delete: counts', async (connection) => {
  const channel = await open(connection);
  const queue = unique('q');
  equal(await channel.assertQueue(queue, { durable: false }), { queue, messageCount: 0, consumerCount: 0 });
  for (const body of ['1', '2', '3']) channel.sendToQueue(queue, Buffer.from(body));
  // A count asked for at once may overtake messages that are not confirmed; a purge does not.
  equal(await channel.purgeQueue(queue), { messageCount: 3 });
  equal(await channel.checkQueue(queue), { queue, messageCount: 0, consumerCount: 0 });
  equal(await channel.deleteQueue(queue), { messageCount: 0 });
  equal(await channel.deleteQueue(queue), { messageCount: 0 });
});

check('A1.9 CR and LF are stripped from names at declare', async (connection) => {
  const channel = await open(connection);
  const name = unique('q');
  equal((await channel.assertQueue(`${name}\r\n`, { exclusive: true })).queue, name);
  await channel.checkQueue(name);
  await channel.assertExchange(`${name}\n`, 'fanout', { autoDelete: true });
  await channel.checkExchange(name);
  await channel.deleteExchange(`${name}\n`);
  await channel.deleteQueue(`\r${name}`);
  await refused(channel.checkQueue(name), 404, `NOT_FOUND - no queue '${name}' in vhost '/'`);
});

check('A3 topic, headers and exchange to exchange', async (connection) => {
  const channel = await open(connection);
  const [topic, headers] = [unique('topic'), unique('headers')];
  await channel.assertExchange(topic, 'topic', { autoDelete: true });
  await channel.assertExchange(headers, 'headers', { autoDelete: true });
  await channel.bindExchange(headers, topic, '*.orange.#');
  const queue = await temporary(channel);
  await channel.bindQueue(queue, headers, '', { 'x-match': 'all', size: 1.5, kind: 'fruit' });
  const publish = (key, fields) => channel.publish(topic, key, Buffer.from(key), { headers: fields });
  publish('quick.orange.rabbit', { size: 1.5, kind: 'fruit' });
  publish('quick.orange', { size: 1, kind: 'fruit' });
  publish('quick.brown.fox', { size: 1.5, kind: 'fruit' });
  const message = await channel.get(queue, { noAck: true });
  equal(message.content.toString(), 'quick.orange.rabbit');
  equal(message.fields.messageCount, 0);
  await channel.unbindExchange(headers, topic, '*.orange.#');
});

check('A2 a refused declare fails its channel alone', async (connection) => {
  const queue = unique('q');
  await (await open(connection)).assertQueue(queue, { exclusive: true, durable: false });
  const failing = await open(connection);
  const text = `inequivalent arg 'x-max-priority' for queue '${queue}' in vhost '/': `
    + "received the value '3' of type 'byte' but current is none";
  await refused(failing.assertQueue(queue, { exclusive: true, durable: false, maxPriority: 3 }), 406, text);
  await (await open(connection)).checkQueue(queue);
});

check('A2 the error of a channel names the method', async (connection) => {
  const channel = await open(connection);
  const failed = once(channel, 'error');
  channel.publish('compliance-none', 'k', Buffer.from('m'));
  const [error] = await within(failed, 'error');
  equal([error.code, error.classId, error.methodId], [404, 60, 40]);
});

check('A2 a connection error ends the connection', async (connection) => {
  const failed = once(connection, 'error');
  const channel = await open(connection);
  const queue = await temporary(channel);
  await channel.consume(queue, () => {}, { consumerTag: 'mine' });
  channel.consume(queue, () => {}, { consumerTag: 'mine' }).catch(() => {});
  const [error] = await within(failed, 'error');
  equal([error.code, error.message.includes("attempt to reuse consumer tag 'mine'")], [530, true]);
});

check('A5.2 waitForConfirms: 5,000 messages', async (connection) => {
  const channel = await open(connection, true);
  const queue = await temporary(channel);
  let confirmed = 0;
  for (let n = 0; n < 5000; n += 1) {
    channel.sendToQueue(queue, Buffer.from(String(n)), {}, (error) => { if (!error) confirmed += 1; });
  }
  await within(channel.waitForConfirms(), 'confirms');
  equal(confirmed, 5000);
  const messages = await take(channel, queue, 5000);
  equal(messages.map((message) => Number(message.content)), [...Array(5000).keys()]);
});

check('A5.2 returns, each before its confirm', async (connection) => {
  const channel = await open(connection, true);
  const events = [];
  channel.on('return', (message) => {
    equal([message.fields.replyCode, message.fields.replyText], [312, 'NO_ROUTE']);
    events.push(`return ${message.content}`);
  });
  for (let n = 0; n < 50; n += 1) {
    channel.publish('', 'compliance-none', Buffer.from(String(n)), { mandatory: true }, () => events.push(`ack ${n}`));
  }
  await within(channel.waitForConfirms(), 'confirms');
  equal(events.length, 100);
  for (let n = 0; n < 50; n += 1) {
    if (events.indexOf(`return ${n}`) > events.indexOf(`ack ${n}`)) throw new Error(`message ${n} acked, then returned`);
  }
});

check('A1.8 large messages', async (connection) => {
  const channel = await open(connection, true);
  const queue = await temporary(channel);
  for (const size of [0, 131_064, 131_065, 1 << 20, 10 << 20]) {
    const body = randomBytes(size);
    channel.sendToQueue(queue, body);
    await within(channel.waitForConfirms(), 'confirm');
    const message = await channel.get(queue, { noAck: true });
    equal(message.content.equals(body), true);
  }
});

check('A1.8 small frames', async () => {
  const connection = await connect('?frameMax=8192');
  try {
    const channel = await open(connection);
    const queue = await temporary(channel);
    const body = randomBytes(1 << 20);
    channel.sendToQueue(queue, body);
    equal((await channel.get(queue, { noAck: true })).content.equals(body), true);
  } finally {
    await connection.close();
  }
});

check('A1.8 frames of two channels in turn', async (connection) => {
  const [first, second] = [await open(connection), await open(connection)];
  const queues = [await temporary(first), await temporary(second)];
  const bodies = [randomBytes(3 << 20), randomBytes(3 << 20)];
  // Each channel has its own buffer of frames; the connection sends one of each in turn.
  for (let n = 0; n < 3; n += 1) {
    first.sendToQueue(queues[0], bodies[0]);
    second.sendToQueue(queues[1], bodies[1]);
  }
  const taken = await Promise.all([take(first, queues[0], 3), take(second, queues[1], 3)]);
  for (const [index, messages] of taken.entries()) {
    equal(messages.map((message) => message.content.equals(bodies[index])), [true, true, true]);
  }
});

check('A1.10 properties and headers', async (connection) => {
  const channel = await open(connection);
  const queue = await temporary(channel);
  const headers = {
    text: 'täxt', yes: true, no: false, small: 1, negative: -200, wide: 2 ** 40, double: 1.25,
    octets: Buffer.from([0, 255]), nothing: null, table: { deep: { list: [1, 'two', [true, { three: 3 }]] } },
    // Forms amqplib has no plain value for.
    stamp: { '!': 'timestamp', value: 1234567890 },
    decimal: { '!': 'decimal', value: { digits: 314, places: 2 } },
    float: { '!': 'float', value: 0.5 },
  };
  const properties = {
    contentType: 'text/plain', contentEncoding: 'utf-8', deliveryMode: 2, priority: 7, correlationId: 'c',
    replyTo: 'r', expiration: '600000', messageId: 'm', timestamp: 1234567890, type: 't', userId: 'guest', appId: 'a',
  };
  channel.sendToQueue(queue, Buffer.from('body'), { ...properties, headers });
  const message = await channel.get(queue, { noAck: true });
  equal({ ...message.properties.headers }, { ...headers, float: 0.5 });
  const { headers: _, clusterId: __, ...plain } = message.properties;
  equal(plain, properties);
});

check('A6.1 prefetch', async (connection) => {
  const channel = await open(connection);
  const queue = await temporary(channel);
  await channel.prefetch(4);
  for (let n = 0; n < 20; n += 1) channel.sendToQueue(queue, Buffer.from(String(n)));
  let held = [];
  let most = 0;
  let count = 0;
  await within(new Promise((resolve) => {
    channel.consume(queue, (message) => {
      held.push(message);
      most = Math.max(most, held.length);
      // Gives more than the limit the time to come, then acks all at once.
      setTimeout(() => {
        if (!held.length) return;
        channel.ack(held.at(-1), true);
        count += held.length;
        held = [];
        if (count === 20) resolve();
      }, 30);
    });
  }), '20 messages');
  equal(most, 4);
});

check('A6.2 prefetch of the channel', async (connection) => {
  const channel = await open(connection);
  const queues = [await temporary(channel), await temporary(channel)];
  await channel.prefetch(3, true);
  const held = [];
  for (const queue of queues) await channel.consume(queue, (message) => held.push(message));
  for (let n = 0; n < 5; n += 1) for (const queue of queues) channel.sendToQueue(queue, Buffer.from('m'));
  const ready = async () => (await Promise.all(queues.map((queue) => channel.checkQueue(queue))))
    .reduce((sum, answer) => sum + answer.messageCount, 0);
  await until(async () => held.length === 3 && await ready() === 7);
  channel.ackAll();
  await until(async () => held.length === 6 && await ready() === 4);
});

async function until(condition) {
  for (let n = 0; n < 300; n += 1) {
    if (await condition()) return;
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
  throw new Error('not so after 30 s');
}

check('A6.11 nackAll, recover and redelivered', async (connection) => {
  const channel = await open(connection);
  const queue = await temporary(channel);
  for (const body of ['1', '2', '3']) channel.sendToQueue(queue, Buffer.from(body));
  const got = async () => {
    const message = await channel.get(queue);
    return [String(message.content), message.fields.redelivered, message.fields.deliveryTag];
  };
  equal([await got(), await got()], [['1', false, 1], ['2', false, 2]]);
  channel.nackAll();
  equal([await got(), await got()], [['1', true, 3], ['2', true, 4]]);
  await channel.recover();
  equal([await got(), await got(), await got()], [['1', true, 5], ['2', true, 6], ['3', false, 7]]);
});

check('A6.7 a consumer is told with null when its queue is deleted', async (connection) => {
  const channel = await open(connection);
  const queue = await temporary(channel);
  const told = new Promise((resolve) => { channel.consume(queue, resolve); });
  await (await open(connection)).deleteQueue(queue);
  equal(await within(told, 'cancel'), null);
});

check('A4.3 exclusive is 405 elsewhere', async (connection) => {
  const queue = await temporary(await open(connection));
  const other = await connect();
  try {
    const text = `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${queue}' in vhost '/'.`;
    await refused((await open(other)).checkQueue(queue), 405, text);
  } finally {
    await other.close();
  }
});

check('A1.18 100 channels', async (connection) => {
  const channels = await Promise.all(Array.from({ length: 100 }, () => open(connection)));
  const queues = await Promise.all(channels.map((channel) => temporary(channel)));
  equal(new Set(queues).size, 100);
  await Promise.all(channels.map((channel) => channel.close()));
  await temporary(await open(connection));
});

main();
