// The console in a real browser: what an operator clicks and types. WARREN_SCREENSHOTS=DIR keeps a picture of every page.
'use strict';

const { randomBytes } = require('node:crypto');
const path = require('node:path');
const { createRequire } = require('node:module');
const amqp = require('amqplib');

// Set up beside amqplib, in a folder of its own.
const there = createRequire(path.join(process.env.NODE_PATH.split(':')[0], '../../console/'));
const { chromium } = there('playwright-core');

const HTTP = `http://${process.env.WARREN_HTTP}/`;
const PICTURES = process.env.WARREN_SCREENSHOTS;
const LIMIT = 20_000;
const name = `compliance-${randomBytes(4).toString('hex')}`;
const vhost = encodeURIComponent('/');

const checks = [];
const check = (title, run) => checks.push({ title, run });

/** The page of a hash, once the broker has answered. */
async function open(page, hash) {
  await page.evaluate((to) => { location.hash = to; }, `#/${hash}`);
  await page.waitForFunction(() => document.querySelector('.live')?.textContent === 'live' && document.querySelector('main h2'), undefined, { timeout: LIMIT });
}

const see = (page, selector, text) => page.locator(selector, { hasText: text }).first().waitFor({ timeout: LIMIT });

async function picture(page, title) {
  if (!PICTURES) return;
  await page.evaluate(() => document.querySelector('.toasts')?.replaceChildren());
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: path.join(PICTURES, `${title}-${colorScheme}.png`) });
  }
  await page.emulateMedia({ colorScheme: 'light' });
}

check('a wrong password is told, a right one leads in', async ({ page }) => {
  await page.goto(HTTP);
  await page.fill('[name=user]', 'guest');
  await page.fill('[name=password]', 'wrong');
  await page.click('button[type=submit]');
  await see(page, '.fault', 'wrong password');
  await page.fill('[name=user]', 'guest');
  await page.fill('[name=password]', 'guest');
  await page.click('button[type=submit]');
  await see(page, '.side', 'Queues');
});

check('a queue is added, found by its name, and opened by the keyboard', async ({ page }) => {
  await open(page, 'queues');
  await page.click('summary');
  await page.fill('details [name=name]', name);
  await page.fill('details [name=arguments]', 'x-max-length = 1000');
  await page.click('details button[type=submit]');
  await page.keyboard.press('Escape');
  await page.locator('main h2').click();
  await page.keyboard.press('/');
  await page.keyboard.type(name);
  await see(page, 'tbody tr', name);
  await page.keyboard.press('Escape');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await see(page, 'h2', name);
  await see(page, 'main', 'argument x-max-length');
});

check('a message is published, looked at, put back, and purged', async ({ page }) => {
  await open(page, `queues/${vhost}/${name}`);
  const publish = page.locator('details', { hasText: 'Publish a message here' });
  await publish.locator('summary').click();
  await publish.locator('[name=payload]').fill('<b>hello</b> from the console');
  await publish.locator('[name=headers]').fill('tenant = acme');
  await publish.locator('button[type=submit]').click();
  await see(page, '.toast', 'Published');
  await see(page, '.figure', /1\s*Ready/);
  const look = page.locator('details', { hasText: 'Get messages' });
  await look.locator('summary').click();
  await look.locator('button[type=submit]').click();
  await see(page, '.message pre', '<b>hello</b> from the console');
  await see(page, '.figure', /1\s*Ready/);
  await page.click('button:has-text("Purge")');
  await page.click('dialog button[value=yes]');
  await see(page, '.figure', /0\s*Ready/);
});

check('messages are found, dropped and moved without being taken', async ({ page, channel }) => {
  const other = `${name}-other`;
  await channel.assertQueue(other);
  for (const text of ['alpha', 'beta', 'gamma']) channel.sendToQueue(name, Buffer.from(text), { persistent: true });
  await channel.waitForConfirms();
  await open(page, `queues/${vhost}/${name}`);
  const look = page.locator('details', { hasText: 'Look at messages' });
  await look.locator('summary').click();
  await look.locator('button[type=submit]').click();
  await see(page, '.message pre', 'gamma');
  await look.evaluate((element) => element.scrollIntoView());
  await picture(page, 'queues-look');
  await look.locator('[name=search]').fill('BETA');
  await look.locator('button[type=submit]').click();
  await look.locator('.message pre', { hasText: 'gamma' }).waitFor({ state: 'detached', timeout: LIMIT });
  await look.locator('.message pre', { hasText: 'beta' }).waitFor({ timeout: LIMIT });
  if (await look.locator('.message .badge', { hasText: 'redelivered' }).count()) throw new Error('looking marks');
  await look.locator('.message button:has-text("Drop")').click();
  await page.click('dialog button[value=yes]');
  await see(page, '.figure', /2\s*Ready/);
  const move = page.locator('details', { hasText: 'Move messages' });
  await move.locator('summary').click();
  await move.locator('[name=target]').fill(other);
  await move.locator('[name=search]').fill('gam');
  await move.locator('button[type=submit]').click();
  await see(page, '.toast', '1 moved');
  await see(page, '.figure', /1\s*Ready/);
  const { messageCount } = await channel.checkQueue(other);
  if (messageCount !== 1) throw new Error(`${messageCount} in the other queue`);
  await channel.deleteQueue(other);
  await channel.purgeQueue(name);
});

check('an exchange says where a message would go', async ({ page, channel }) => {
  await channel.bindQueue(name, 'amq.topic', 'route.*');
  await open(page, `exchanges/${vhost}/amq.topic`);
  const route = page.locator('details', { hasText: 'Where would a message go?' });
  await route.locator('summary').click();
  await route.locator('[name=routing_key]').fill('route.one');
  await route.locator('button[type=submit]').click();
  await see(page, 'details p', `It reaches ${name}`);
  await see(page, 'details code', 'route.*');
  await route.evaluate((element) => element.scrollIntoView());
  await picture(page, 'exchanges-route');
  await channel.unbindQueue(name, 'amq.topic', 'route.*');
});

check('a policy takes effect, and the queue explains it', async ({ page }) => {
  await open(page, 'policies');
  const add = page.locator('details').first();
  await add.locator('summary').click();
  await add.locator('[name=name]').fill(name);
  await add.locator('[name=pattern]').fill(`^${name}$`);
  await add.locator('[name=definition]').fill('max-length = 7');
  await add.locator('button[type=submit]').click();
  await see(page, 'td', name);
  await open(page, `queues/${vhost}/${name}`);
  await see(page, 'main', 'max-length');
  await see(page, 'td code', '7');
});

check('a fault of the form is told beside it', async ({ page }) => {
  await open(page, 'policies');
  const add = page.locator('details').first();
  await add.locator('summary').click();
  await add.locator('[name=name]').fill('bad');
  await add.locator('[name=definition]').fill('max-length = "many"');
  await add.locator('button[type=submit]').click();
  await page.locator('.fault:not(:empty)').first().waitFor({ timeout: LIMIT });
});

check('every page shows live data', async ({ page, channel }) => {
  // Null when the queue is deleted.
  await channel.consume(name, (message) => { if (message) channel.ack(message); });
  for (let i = 0; i < 200; i += 1) channel.publish('amq.topic', 'order.paid', Buffer.from(`{"order":${i}}`));
  await channel.bindQueue(name, 'amq.topic', 'order.#');
  for (let i = 0; i < 500; i += 1) channel.publish('amq.topic', 'order.paid', Buffer.from(`{"order":${i}}`));
  await channel.waitForConfirms();
  const pages = {
    overview: 'Messages queued', connections: '127.0.0.1', channels: '127.0.0.1', exchanges: 'amq.topic', queues: name, policies: name, users: 'guest', vhosts: '/', definitions: 'Export',
    [`queues/${vhost}/${name}`]: 'order.#', [`exchanges/${vhost}/amq.topic`]: 'order.#', 'users/guest': 'administrator',
  };
  for (const [hash, text] of Object.entries(pages)) {
    await open(page, hash);
    await see(page, 'main', text);
    await picture(page, hash.replace(/\/.*/, (rest) => (rest ? '-one' : '')));
  }
  for (const kind of ['connections', 'channels']) {
    await open(page, kind);
    await page.locator('tbody tr[tabindex]').first().click();
    await see(page, 'h3', 'Facts');
    await picture(page, `${kind}-one`);
  }
});

check('dark and light can be turned by a key', async ({ page }) => {
  await open(page, 'overview');
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const before = await ground();
  await page.locator('main h2').click();
  await page.keyboard.press('t');
  if (await ground() === before) throw new Error(`the ground is ${before} in both`);
});

check('a user who may only monitor is not offered what it may not do', async ({ browser }) => {
  const answer = await fetch(`${HTTP}api/users/${name}`, { method: 'PUT', headers: { Authorization: `Basic ${btoa('guest:guest')}`, 'content-type': 'application/json' }, body: JSON.stringify({ password: 'secret', tags: 'monitoring' }) });
  if (!answer.ok) throw new Error(`no user: ${answer.status}`);
  const page = await (await browser.newContext()).newPage();
  await page.goto(HTTP);
  await page.fill('[name=user]', name);
  await page.fill('[name=password]', 'secret');
  await page.click('button[type=submit]');
  await see(page, '.side', 'Queues');
  if (await page.locator('.side', { hasText: 'Users' }).count()) throw new Error('Users are offered');
});

check('the queue, the policy and the user are deleted', async ({ page }) => {
  for (const [method, at] of [['DELETE', `policies/${vhost}/${name}`], ['DELETE', `users/${name}`]]) {
    await fetch(`${HTTP}api/${at}`, { method, headers: { Authorization: `Basic ${btoa('guest:guest')}` } });
  }
  await open(page, `queues/${vhost}/${name}`);
  await page.click('button:has-text("Delete queue")');
  await page.click('dialog button[value=yes]');
  await page.waitForFunction(() => location.hash.startsWith('#/queues') && !location.hash.includes('compliance'), undefined, { timeout: LIMIT });
});

async function main() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  const page = await (await browser.newContext({ viewport: { width: 1360, height: 860 } })).newPage();
  page.setDefaultTimeout(LIMIT);
  const faults = [];
  page.on('pageerror', (fault) => faults.push(String(fault)));
  page.on('console', (line) => { if (line.type() === 'error' && !/status of (400|401|404)/.test(line.text())) faults.push(line.text()); });
  page.on('request', (asked) => { if (!asked.url().startsWith(HTTP) && !asked.url().startsWith('blob:')) faults.push(`asks ${asked.url()}`); });
  const connection = await amqp.connect(process.env.WARREN_URI, { clientProperties: { connection_name: 'orders service' } });
  const channel = await connection.createConfirmChannel();
  check('no fault in the browser, and nothing asked of anybody else', async () => { if (faults.length) throw new Error(faults.join('; ')); });
  let failed = false;
  for (const { title, run } of checks) {
    try {
      await run({ browser, page, channel });
      console.log(`ok ${title}`);
    } catch (error) {
      failed = true;
      console.log(`not ok ${title}: ${String(error).replace(/\s+/g, ' ').slice(0, 500)}`);
    }
  }
  await connection.close();
  await browser.close();
  process.exit(failed ? 1 : 0);
}

main();
