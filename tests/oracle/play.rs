//! Plays one scenario against a broker and tells what the broker said to each step.
//!
//! A step that has an answer waits for it; a connection or channel not opened yet is opened
//! unasked, unless the step only sends. At the end everything the scenario declared is deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use super::client::{Client, Until};
use super::handshake::{PROTOCOL_HEADER, handshake};
use super::names::Names;
use super::peer::Peer;
use super::script::{Line, Scenario};
use super::spec;
use super::step::{Action, Arguments, Expect, Step};
use super::value::Octets;
use super::wire::Item;

const FRAME_MAX: usize = 131_072;
/// Between the two round trips that show that nothing comes.
const MOMENT: Duration = Duration::from_millis(40);

/// How often an answer may change before it is taken as it is.
const SETTLE_TRIES: usize = 50;

struct Player<'a> {
    peer: &'a dyn Peer,
    limit: Duration,
    names: &'a mut Names,
    clients: BTreeMap<usize, (Client, usize)>,
    used: BTreeSet<(usize, u16)>,
    declared: BTreeSet<(u16, Vec<u8>)>,
    /// An alarm that it raised and has not ended.
    alarm: bool,
}

/// Plays a scenario. Gives it with what this broker said.
pub(crate) fn play(scenario: &Scenario, peer: &dyn Peer, limit: Duration) -> Scenario {
    let mut names = Names::new(&scenario.name);
    let mut player = Player {
        peer,
        limit,
        names: &mut names,
        clients: BTreeMap::new(),
        used: BTreeSet::new(),
        declared: BTreeSet::new(),
        alarm: false,
    };
    let mut lines = Vec::new();
    let mut lost = false;
    for line in &scenario.lines {
        lines.push(match line {
            Line::Other(text) => Line::Other(text.clone()),
            Line::Step(text, _) if lost => Line::Step(text.clone(), Vec::new()),
            Line::Step(text, _) => {
                let said = player.step(text);
                let said = said.unwrap_or_else(|e| panic!("{}: {text}: {e}", scenario.name));
                // What follows would only wait in vain again.
                lost = said.iter().any(|line| line.ends_with("timeout"));
                Line::Step(text.clone(), said)
            }
        });
    }
    let left = player.finish();
    let last = lines.iter_mut().rev().find_map(|line| match line {
        Line::Step(_, said) => Some(said),
        Line::Other(_) => None,
    });
    if let Some(said) = last.filter(|_| !lost) {
        said.extend(left);
    }
    Scenario {
        name: scenario.name.clone(),
        lines,
    }
}

impl Player<'_> {
    fn step(&mut self, text: &str) -> Result<Vec<String>, String> {
        let Step {
            connection,
            channel,
            action,
        } = Step::parse(&self.names.real(text))?;
        let items = self.act(connection, channel, action)?;
        Ok(items.iter().map(|item| self.told(item, channel)).collect())
    }

    fn told(&mut self, item: &Item, channel: u16) -> String {
        if item.name == "queue.declare-ok"
            && let Some(at) = item.text.find("amq.gen-")
        {
            let name = item.text[at..].split(' ').next().unwrap_or_default();
            self.declared.insert((50, name.into()));
        }
        let text = self.names.normal(&item.text);
        match item.channel == channel {
            true => text,
            false => format!("(channel {}) {text}", item.channel),
        }
    }

    fn act(
        &mut self,
        connection: usize,
        channel: u16,
        action: Action,
    ) -> Result<Vec<Item>, String> {
        let limit = self.limit;
        match action {
            Action::Sleep(milliseconds) => {
                thread::sleep(Duration::from_millis(milliseconds));
                return Ok(Vec::new());
            }
            Action::Alarm(on) => {
                self.set_alarm(on);
                return Ok(Vec::new());
            }
            Action::Connect | Action::Start => {
                let mut client = Client::connect(self.peer.address());
                let mut items = Vec::new();
                if matches!(action, Action::Start) {
                    client.write(PROTOCOL_HEADER);
                    items = client.wait(0, &until("connection.start"), limit);
                    items.pop_if(|item| item.name == "connection.start");
                }
                self.clients.insert(connection, (client, FRAME_MAX));
                return Ok(items);
            }
            Action::Open(arguments) => return self.open(connection, arguments),
            _ if self.clients.contains_key(&connection) => {}
            _ => {
                self.open(connection, Arguments::default())?;
            }
        }
        if let Action::Method(_, payload, _) | Action::Frame(1, payload) = &action {
            self.declared.extend(declared(payload));
        }
        let opens = match &action {
            Action::Method(method, ..) => method.name != "channel.open",
            Action::Publish(..) | Action::Settled(_) => true,
            _ => false,
        };
        let fresh = channel > 0 && self.used.insert((connection, channel));
        let (client, frame_max) = self.clients.get_mut(&connection).unwrap();
        if client.is_over() {
            return Ok(vec![Item {
                channel,
                name: "closed".into(),
                text: "(the connection is closed)".into(),
            }]);
        }
        if fresh && opens {
            client.frame(1, channel, &[0, 20, 0, 10, 0]);
            let opened = client.wait(channel, &until("channel.open-ok"), limit);
            if opened.last().is_none_or(|i| i.name != "channel.open-ok") {
                return Ok(opened);
            }
        }
        Ok(match action {
            Action::Raw(octets) => {
                client.write(&octets);
                Vec::new()
            }
            Action::Frame(kind, payload) => {
                client.frame(kind, channel, &payload);
                Vec::new()
            }
            Action::Method(method, payload, awaited) => {
                client.frame(1, channel, &payload);
                match awaited {
                    true => client.wait(channel, &Until::Methods(&replies(method)), limit),
                    false => Vec::new(),
                }
            }
            Action::Publish(method, header, body) => {
                client.published(channel);
                client.frame(1, channel, &method);
                client.frame(2, channel, &header);
                for part in body.chunks(*frame_max - 8) {
                    client.frame(3, channel, part);
                }
                Vec::new()
            }
            Action::Settled(payload) => settled(client, channel, &payload, limit),
            Action::Expect(expect) => expected(client, channel, &expect, limit),
            Action::Manual => {
                client.answers = false;
                Vec::new()
            }
            Action::Drop => {
                client.drop_socket();
                Vec::new()
            }
            Action::Connect
            | Action::Start
            | Action::Open(_)
            | Action::Sleep(_)
            | Action::Alarm(_) => Vec::new(),
        })
    }

    fn set_alarm(&mut self, on: bool) {
        self.peer.set_alarm(on);
        self.alarm = on;
    }

    fn open(&mut self, connection: usize, mut arguments: Arguments) -> Result<Vec<Item>, String> {
        self.used.retain(|(c, _)| *c != connection);
        let mut client = Client::connect(self.peer.address());
        let frame_max = arguments.number("frame_max", FRAME_MAX)?;
        let items = handshake(&mut client, frame_max, arguments, self.limit)?;
        self.clients.insert(connection, (client, frame_max));
        Ok(items)
    }

    /// Closes the connections, deletes what is left, and gives what nobody waited for.
    fn finish(mut self) -> Vec<String> {
        if self.alarm {
            self.set_alarm(false);
        }
        let mut left = Vec::new();
        let over = |client: &Client| client.is_over() || !client.answers || !client.opened;
        for (number, (mut client, _)) in std::mem::take(&mut self.clients) {
            if !over(&client) {
                let close = [0, 10, 0, 50, 0, 200, 0, 0, 0, 0, 0];
                client.frame(1, 0, &close);
                let mut items = client.wait(0, &until("connection.close-ok"), self.limit);
                items.pop_if(|item| item.name == "connection.close-ok");
                items.extend(client.rest());
                for item in items {
                    let text = self.names.normal(&item.text);
                    left.push(format!("(left over on c{number}.{}) {text}", item.channel));
                }
            }
        }
        self.clean();
        left
    }

    fn clean(&self) {
        let mine = |name: &Vec<u8>| {
            let name = String::from_utf8_lossy(name);
            name.contains(self.names.prefix()) || name.starts_with("amq.gen-")
        };
        let mut names = self.declared.iter().filter(|(_, n)| mine(n)).peekable();
        if names.peek().is_none() {
            return;
        }
        let mut client = Client::connect(self.peer.address());
        let Ok(_) = handshake(&mut client, FRAME_MAX, Arguments::default(), self.limit) else {
            return;
        };
        for (class, name) in names {
            if !client.channels.contains(&1) {
                client.frame(1, 1, &[0, 20, 0, 10, 0]);
                client.wait(1, &until("channel.open-ok"), self.limit);
            }
            let (method, reply) = match class {
                40 => ([0, 40, 0, 20, 0, 0], "exchange.delete-ok"),
                _ => ([0, 50, 0, 40, 0, 0], "queue.delete-ok"),
            };
            let mut payload = method.to_vec();
            payload.push(name.len() as u8);
            payload.extend(name);
            payload.push(0);
            client.frame(1, 1, &payload);
            client.wait(1, &until(reply), self.limit);
        }
    }
}

/// Class and name of what a method declares.
fn declared(payload: &[u8]) -> Option<(u16, Vec<u8>)> {
    let mut from = Octets(payload);
    let class = from.number(2)? as u16;
    if !matches!((class, from.number(2)?), (40 | 50, 10)) {
        return None;
    }
    from.take(2)?;
    let length = from.number(1)?;
    Some((class, from.take(length as usize)?.to_vec()))
}

/// Waits for one method.
pub(crate) fn until(name: &'static str) -> Until<'static> {
    Until::Method(name)
}

fn replies(method: &spec::Method) -> Vec<String> {
    let class = method.name.split('.').next().unwrap_or_default();
    let named = |reply: &&str| format!("{class}.{reply}");
    method.replies.iter().map(named).collect()
}

/// What comes before the answer is told, the answers that change are not.
fn settled(client: &mut Client, channel: u16, payload: &[u8], limit: Duration) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut last: Option<Item> = None;
    for _ in 0..SETTLE_TRIES {
        client.frame(1, channel, payload);
        items.extend(client.wait(channel, &until("queue.declare-ok"), limit));
        let Some(answer) = items.pop_if(|i| i.name == "queue.declare-ok") else {
            return items;
        };
        if last
            .replace(answer.clone())
            .is_some_and(|last| last.text == answer.text)
        {
            break;
        }
        thread::sleep(MOMENT);
    }
    items.extend(last);
    items
}

fn expected(client: &mut Client, channel: u16, what: &Expect, limit: Duration) -> Vec<Item> {
    match what {
        Expect::Count(count, false) => client.wait(channel, &Until::Count(*count), limit),
        Expect::Count(count, true) => {
            let mut items = client.wait(channel, &Until::Count(*count), limit);
            for item in &mut items {
                item.text = without_tag(&item.text);
            }
            items.sort_by(|a, b| a.text.cmp(&b.text));
            items
        }
        Expect::End => client.wait(channel, &Until::End, limit),
        Expect::Heartbeat => client.wait(0, &Until::Heartbeat, limit),
        Expect::Quiet if channel == 0 => {
            let mut items = client.wait(0, &Until::Count(1), 8 * MOMENT);
            items.pop_if(|item| item.name == "timeout");
            items
        }
        Expect::Quiet => {
            let mut items = Vec::new();
            for pause in [MOMENT, Duration::ZERO] {
                client.frame(
                    1,
                    channel,
                    b"\0\x28\0\x0a\0\0\x0aamq.direct\x06direct\x01\0\0\0\0",
                );
                items.extend(client.wait(channel, &until("exchange.declare-ok"), limit));
                if items.pop_if(|i| i.name == "exchange.declare-ok").is_none() {
                    break;
                }
                thread::sleep(pause);
            }
            items
        }
    }
}

fn without_tag(text: &str) -> String {
    let words = text.split(' ');
    let kept: Vec<&str> = words.filter(|w| !w.starts_with("delivery_tag=")).collect();
    kept.join(" ")
}
