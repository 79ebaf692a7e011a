// amqplib's callback API: nothing is awaited but what calls back.
'use strict';

const amqp = require('amqplib/callback_api');
const { URI, check, equal, main, within } = require('./check');

/** Runs `steps(channel, done)` on a channel of the callback API; `done(error, value)` ends it. */
function onChannel(create, steps) {
  return within(new Promise((resolve, reject) => {
    amqp.connect(URI, (failed, connection) => {
      if (failed) return reject(failed);
      connection.on('error', reject);
      connection[create]((refusal, channel) => {
        if (refusal) return reject(refusal);
        channel.on('error', reject);
        steps(channel, (error, value) => connection.close(() => (error ? reject(error) : resolve(value))));
      });
    });
  }), 'end');
}

check('callbacks: declare, bind, publish, consume, ack, cancel', async () => {
  const bodies = await onChannel('createChannel', (channel, done) => {
    channel.assertQueue('', { exclusive: true }, (failed, { queue } = {}) => {
      if (failed) return done(failed);
      channel.bindQueue(queue, 'amq.topic', 'callbacks.#', {}, () => {
        const received = [];
        channel.consume(queue, (message) => {
          received.push(String(message.content));
          channel.ack(message);
          if (received.length === 100) channel.cancel(message.fields.consumerTag, (error) => done(error, received));
        }, {}, () => {
          for (let n = 0; n < 100; n += 1) channel.publish('amq.topic', `callbacks.${n}`, Buffer.from(String(n)));
        });
      });
    });
  });
  equal(bodies, Array.from({ length: 100 }, (_, n) => String(n)));
});

check('callbacks: each publish confirmed', async () => {
  const confirmed = await onChannel('createConfirmChannel', (channel, done) => {
    channel.assertQueue('', { exclusive: true }, (failed, { queue } = {}) => {
      if (failed) return done(failed);
      let count = 0;
      for (let n = 0; n < 500; n += 1) {
        channel.sendToQueue(queue, Buffer.from('m'), {}, (error) => {
          count += 1;
          if (error) done(error);
          else if (count === 500) channel.checkQueue(queue, (e, ok) => done(e, [count, ok.messageCount]));
        });
      }
    });
  });
  equal(confirmed, [500, 500]);
});

check('callbacks: get from an empty queue is false', async () => {
  const answer = await onChannel('createChannel', (channel, done) => {
    channel.assertQueue('', { exclusive: true }, (_, { queue }) => channel.get(queue, {}, done));
  });
  equal(answer, false);
});

check('callbacks: 404 reaches the channel', async () => {
  const asking = onChannel('createChannel', (channel) => channel.checkQueue('compliance-none', () => {}));
  const error = await asking.catch((e) => e);
  equal([error.code, error.message.includes("NOT_FOUND - no queue 'compliance-none' in vhost '/'")], [404, true]);
});

main();
