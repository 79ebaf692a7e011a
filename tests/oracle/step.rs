//! One step of a scenario, from its text to what is sent and awaited.
//!
//! Owns the grammar: `c1.2 VERB ARGUMENTS`, with `c1` for the connection itself (channel 0).

use super::spec::{self, Kind, Method, PROPERTIES};
use super::value::{Fault, Text, hex};

/// What a step does.
pub(crate) enum Action {
    /// Connects the socket only.
    Connect,
    /// Connects and begins the handshake, up to connection.start.
    Start,
    /// Connects and does the handshake.
    Open(Arguments),
    /// Writes these octets as they are.
    Raw(Vec<u8>),
    /// Writes a frame of this type.
    Frame(u8, Vec<u8>),
    /// Writes a method; with `true` its answer is awaited.
    Method(&'static Method, Vec<u8>, bool),
    /// Writes a whole publish: method, header, body frames.
    Publish(Vec<u8>, Vec<u8>, Vec<u8>),
    /// Writes a passive declare until its answer stays the same: counts that a broker brings up
    /// to date in its own time.
    Settled(Vec<u8>),
    /// Waits for what comes.
    Expect(Expect),
    /// Closes are not answered any more.
    Manual,
    /// Closes the socket without a word.
    Drop,
    /// Lets so many milliseconds pass.
    Sleep(u64),
    /// Raises the broker's memory alarm, or ends it.
    Alarm(bool),
}

/// What is waited for.
pub(crate) enum Expect {
    /// So many items, shown in their order, or sorted and without delivery tags.
    Count(usize, bool),
    /// The end of the socket.
    End,
    /// A heartbeat.
    Heartbeat,
    /// Nothing: whatever comes before two round trips and a moment between them is shown.
    Quiet,
}

/// A step.
pub(crate) struct Step {
    /// Number of the connection, from 1; 0 if it concerns none.
    pub(crate) connection: usize,
    /// 0 is the connection itself.
    pub(crate) channel: u16,
    /// What to do.
    pub(crate) action: Action,
}

/// `name=value`, in any order, each at most once.
#[derive(Default)]
pub(crate) struct Arguments(Vec<(String, String)>);

impl Arguments {
    fn parse(text: &str) -> Result<Self, Fault> {
        let mut found = Vec::new();
        for word in words(text) {
            let (name, value) = word.split_once('=').ok_or(format!("no '=' in {word:?}"))?;
            found.push((name.to_owned(), value.to_owned()));
        }
        Ok(Arguments(found))
    }

    /// Takes the value of a name.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(n, _)| n == name)?;
        Some(self.0.remove(at).1)
    }

    /// Takes a number, or the default.
    pub(crate) fn number<T: std::str::FromStr>(
        &mut self,
        name: &str,
        default: T,
    ) -> Result<T, Fault> {
        let parse = |text: String| text.parse().map_err(|_| format!("{name}: not a number"));
        self.take(name).map_or(Ok(default), parse)
    }

    /// Takes a string, or the default.
    pub(crate) fn string(&mut self, name: &str, default: &str) -> Result<String, Fault> {
        let Some(text) = self.take(name) else {
            return Ok(default.to_owned());
        };
        let octets = Text(&text).string()?;
        String::from_utf8(octets).map_err(|_| format!("{name}: not UTF-8"))
    }

    /// Whatever was not taken is a mistake.
    pub(crate) fn done(self) -> Result<(), Fault> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(format!("no such argument: {name}")),
        }
    }

    /// The octets of one field.
    fn field(&mut self, name: &str, kind: Kind, out: &mut Vec<u8>) -> Result<bool, Fault> {
        let given = self.take(name);
        let text = given.as_deref().unwrap_or(match kind {
            Kind::Table => "{}",
            Kind::ShortStr | Kind::LongStr => "",
            _ => "0",
        });
        let mut text = Text(text);
        text.field(kind, out).map_err(|e| format!("{name}: {e}"))?;
        match text.0 {
            "" => Ok(given.is_some()),
            rest => Err(format!("{name}: {rest:?} is left over")),
        }
    }
}

/// Words between blanks that are not in quotes or brackets.
fn words(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut start, mut depth, mut quoted, mut escaped) = (0, 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ' ' if depth == 0 => {
                found.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&text[start..]);
    found.retain(|word| !word.is_empty());
    found
}

/// The payload of a method frame.
fn method_payload(method: &Method, arguments: &mut Arguments) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    out.extend(method.id.0.to_be_bytes());
    out.extend(method.id.1.to_be_bytes());
    let mut bits = 0;
    for field in &method.fields {
        if field.kind != Kind::Bit {
            bits = 0;
            arguments.field(field.name, field.kind, &mut out)?;
            continue;
        }
        if bits % 8 == 0 {
            out.push(0);
        }
        if arguments.number(field.name, false)? {
            *out.last_mut().unwrap() |= 1 << (bits % 8);
        }
        bits += 1;
    }
    Ok(out)
}

fn header_payload(arguments: &mut Arguments, body: usize) -> Result<Vec<u8>, Fault> {
    let mut flags = 0_u16;
    let mut values = Vec::new();
    for (at, (name, kind)) in PROPERTIES.iter().enumerate() {
        let before = values.len();
        match arguments.field(name, *kind, &mut values)? {
            true => flags |= 1 << (15 - at),
            false => values.truncate(before),
        }
    }
    let mut out = Vec::new();
    out.extend(arguments.number("class", 60_u16)?.to_be_bytes());
    out.extend(arguments.number("weight", 0_u16)?.to_be_bytes());
    out.extend(arguments.number("size", body as u64)?.to_be_bytes());
    out.extend(flags.to_be_bytes());
    out.extend(values);
    Ok(out)
}

fn raw(text: &str) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    for word in words(text) {
        match word.starts_with('"') {
            true => out.extend(Text(word).string()?),
            false => out.extend(hex(word)?),
        }
    }
    Ok(out)
}

impl Step {
    /// Reads a step.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let (target, rest) = text.split_once(' ').unwrap_or((text, ""));
        let of_none = match (target, rest) {
            ("sleep", time) => Some(Action::Sleep(time.parse().map_err(|_| "not a time")?)),
            ("alarm", "on") => Some(Action::Alarm(true)),
            ("alarm", "off") => Some(Action::Alarm(false)),
            _ => None,
        };
        if let Some(action) = of_none {
            return Ok(Step {
                connection: 0,
                channel: 0,
                action,
            });
        }
        let target = target.strip_prefix('c').ok_or("it names no connection")?;
        let (connection, channel) = target.split_once('.').unwrap_or((target, "0"));
        Ok(Step {
            connection: connection.parse().map_err(|_| "no connection's number")?,
            channel: channel.parse().map_err(|_| "no channel's number")?,
            action: action(rest)?,
        })
    }
}

fn action(text: &str) -> Result<Action, Fault> {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    Ok(match verb {
        "connect" => Action::Connect,
        "start" => Action::Start,
        "open" => Action::Open(Arguments::parse(rest)?),
        "manual" => Action::Manual,
        "drop" => Action::Drop,
        "quiet" => Action::Expect(Expect::Quiet),
        "expect" => Action::Expect(expect(rest)?),
        "raw" => Action::Raw(raw(rest)?),
        "frame" => {
            let (kind, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            Action::Frame(kind.parse().map_err(|_| "no frame type")?, raw(rest)?)
        }
        "header" => {
            let mut arguments = Arguments::parse(rest)?;
            let payload = header_payload(&mut arguments, 0)?;
            arguments.done()?;
            Action::Frame(2, payload)
        }
        "body" => Action::Frame(3, raw(rest)?),
        "publish" => publish(rest)?,
        "settled" => {
            let declare = method("queue.declare", &format!("{rest} passive=true"))?;
            let Action::Method(_, payload, _) = declare else {
                return Err("no method".into());
            };
            Action::Settled(payload)
        }
        "send" => {
            let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            let Action::Method(_, payload, _) = method(name, rest)? else {
                return Err("no method".into());
            };
            Action::Frame(1, payload)
        }
        name => method(name, rest)?,
    })
}

fn method(name: &str, rest: &str) -> Result<Action, Fault> {
    let method = spec::by_name(name).ok_or_else(|| format!("no method {name:?}"))?;
    let mut arguments = Arguments::parse(rest)?;
    let nowait = arguments
        .0
        .iter()
        .any(|(n, v)| n == "nowait" && v == "true");
    let payload = method_payload(method, &mut arguments)?;
    arguments.done()?;
    let awaited = !nowait && !method.replies.is_empty();
    Ok(Action::Method(method, payload, awaited))
}

fn publish(rest: &str) -> Result<Action, Fault> {
    let mut arguments = Arguments::parse(rest)?;
    let body = match arguments.take("body") {
        Some(text) => Text(&text).string()?,
        None => Vec::new(),
    };
    let header = header_payload(&mut arguments, body.len())?;
    let method = spec::by_name("basic.publish").ok_or("no basic.publish")?;
    let method = method_payload(method, &mut arguments)?;
    arguments.done()?;
    Ok(Action::Publish(method, header, body))
}

fn expect(text: &str) -> Result<Expect, Fault> {
    Ok(match text {
        "" => Expect::Count(1, false),
        "eof" => Expect::End,
        "heartbeat" => Expect::Heartbeat,
        text => {
            let sorted = text.strip_suffix(" sorted");
            let count = sorted.unwrap_or(text);
            let count = count
                .parse()
                .map_err(|_| format!("not a count: {count:?}"))?;
            Expect::Count(count, sorted.is_some())
        }
    })
}
