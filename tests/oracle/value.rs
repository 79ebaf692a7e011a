//! Values as text and as octets, both ways: strings, field tables, numbers.
//!
//! Text of a table is `{key:S:text,other:I:5}`, of an array `[S:a,I:1]`; the letter is the one on
//! the wire, so that a table is read and shown octet for octet. A string is bare or in quotes with
//! `\n`, `\"`, `\\`, `\xNN`; `"ab"*3` repeats it. `!Z:00ff` is a value of type `Z` with these octets.

use super::spec::Kind;

/// Why a text or octets cannot be read.
pub(crate) type Fault = String;

/// A cursor over the text of a step.
pub(crate) struct Text<'a>(pub(crate) &'a str);

impl<'a> Text<'a> {
    /// Takes a character if it is the next one.
    pub(crate) fn eat(&mut self, c: char) -> bool {
        let rest = self.0.strip_prefix(c);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn need(&mut self, c: char) -> Result<(), Fault> {
        match self.eat(c) {
            true => Ok(()),
            false => Err(format!("{c:?} expected at {:?}", self.0)),
        }
    }

    /// Everything up to one of these characters or the end.
    pub(crate) fn until(&mut self, ends: &[char]) -> &'a str {
        let at = self.0.find(ends).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(at);
        self.0 = rest;
        taken
    }

    /// A string, bare or in quotes.
    pub(crate) fn string(&mut self) -> Result<Vec<u8>, Fault> {
        if !self.eat('"') {
            return Ok(self.until(&[' ', ',', '}', ']']).as_bytes().to_vec());
        }
        let mut out = Vec::new();
        loop {
            let Some(c) = self.0.chars().next() else {
                return Err("a string has no end".into());
            };
            self.0 = &self.0[c.len_utf8()..];
            match c {
                '"' => break,
                '\\' => out.push(self.escape()?),
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if self.eat('*') {
            let end = self.0.find(|c: char| !c.is_ascii_digit());
            let (times, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
            self.0 = rest;
            out = out.repeat(times.parse().map_err(|_| format!("not a count: {times}"))?);
        }
        Ok(out)
    }

    fn escape(&mut self) -> Result<u8, Fault> {
        let mut next = || {
            let c = self.0.chars().next().ok_or("an escape has no end")?;
            self.0 = &self.0[c.len_utf8()..];
            Ok::<char, Fault>(c)
        };
        Ok(match next()? {
            'n' => b'\n',
            'r' => b'\r',
            'x' => {
                let digits: String = [next()?, next()?].iter().collect();
                *hex(&digits)?.first().ok_or("no digits")?
            }
            c @ ('"' | '\\') => c as u8,
            c => return Err(format!("no escape \\{c}")),
        })
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, Fault> {
        let text = self.until(&[' ', ',', '}', ']']);
        text.parse().map_err(|_| format!("not a number: {text:?}"))
    }

    /// The value of a field that is no bit, as octets.
    pub(crate) fn field(&mut self, kind: Kind, out: &mut Vec<u8>) -> Result<(), Fault> {
        match kind {
            Kind::Octet => out.push(self.number()?),
            Kind::Short => out.extend(self.number::<u16>()?.to_be_bytes()),
            Kind::Long => out.extend(self.number::<u32>()?.to_be_bytes()),
            Kind::Longlong | Kind::Timestamp => out.extend(self.number::<u64>()?.to_be_bytes()),
            Kind::ShortStr => {
                let string = self.string()?;
                out.push(u8::try_from(string.len()).map_err(|_| "longer than 255 octets")?);
                out.extend(string);
            }
            Kind::LongStr => long(out, &self.string()?),
            Kind::Table => long(out, &self.table()?),
            Kind::Bit => return Err("a bit is no value of its own".into()),
        }
        Ok(())
    }

    fn table(&mut self) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::new();
        self.need('{')?;
        while !self.eat('}') {
            let key = match self.0.starts_with('"') {
                true => self.string()?,
                false => self.until(&[':']).as_bytes().to_vec(),
            };
            self.need(':')?;
            out.push(u8::try_from(key.len()).map_err(|_| "a key longer than 255 octets")?);
            out.extend(key);
            self.value(&mut out)?;
            if !self.eat(',') && !self.0.starts_with('}') {
                return Err(format!("',' or '}}' expected at {:?}", self.0));
            }
        }
        Ok(out)
    }

    fn value(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.eat('!') {
            let kind = self.until(&[':']);
            out.extend(kind.bytes());
            self.need(':')?;
            out.extend(hex(self.until(&[',', '}', ']']))?);
            return Ok(());
        }
        let kind = self.0.bytes().next().ok_or("a value has no type")?;
        self.0 = &self.0[1..];
        out.push(kind);
        if kind == b'V' {
            return Ok(());
        }
        self.need(':')?;
        match kind {
            b't' => out.push(u8::from(self.number::<bool>()?)),
            b'b' => out.extend(self.number::<i8>()?.to_be_bytes()),
            b'B' => out.push(self.number()?),
            b's' => out.extend(self.number::<i16>()?.to_be_bytes()),
            b'u' => out.extend(self.number::<u16>()?.to_be_bytes()),
            b'I' => out.extend(self.number::<i32>()?.to_be_bytes()),
            b'i' => out.extend(self.number::<u32>()?.to_be_bytes()),
            b'l' | b'L' => out.extend(self.number::<i64>()?.to_be_bytes()),
            b'T' => out.extend(self.number::<u64>()?.to_be_bytes()),
            b'f' => out.extend(self.number::<f32>()?.to_be_bytes()),
            b'd' => out.extend(self.number::<f64>()?.to_be_bytes()),
            b'D' => {
                let scale = self.until(&['/']);
                out.push(scale.parse().map_err(|_| "not a scale")?);
                self.need('/')?;
                out.extend(self.number::<u32>()?.to_be_bytes());
            }
            b'S' => long(out, &self.string()?),
            b'x' => long(out, &hex(self.until(&[',', '}', ']']))?),
            b'F' => long(out, &self.table()?),
            b'A' => {
                let mut items = Vec::new();
                self.need('[')?;
                while !self.eat(']') {
                    self.value(&mut items)?;
                    self.eat(',');
                }
                long(out, &items);
            }
            other => return Err(format!("no type of value {:?}", other as char)),
        }
        Ok(())
    }
}

fn long(out: &mut Vec<u8>, octets: &[u8]) {
    out.extend(u32::try_from(octets.len()).unwrap().to_be_bytes());
    out.extend(octets);
}

/// Octets from pairs of digits.
pub(crate) fn hex(digits: &str) -> Result<Vec<u8>, Fault> {
    let pair = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let octets: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(pair).collect();
    octets.ok_or_else(|| format!("not hexadecimal: {digits:?}"))
}

/// A cursor over received octets. `None` means they ended too early.
pub(crate) struct Octets<'a>(pub(crate) &'a [u8]);

impl<'a> Octets<'a> {
    /// `n` octets.
    pub(crate) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of `n` octets.
    pub(crate) fn number(&mut self, n: usize) -> Option<u64> {
        let octets = self.take(n)?;
        Some(octets.iter().fold(0, |sum, o| sum << 8 | u64::from(*o)))
    }

    fn string(&mut self, length: usize) -> Option<&'a [u8]> {
        let n = self.number(length)?;
        self.take(n as usize)
    }

    /// A field that is no bit, as text.
    pub(crate) fn field(&mut self, kind: Kind) -> Option<String> {
        Some(match kind {
            Kind::Octet => self.number(1)?.to_string(),
            Kind::Short => self.number(2)?.to_string(),
            Kind::Long => self.number(4)?.to_string(),
            Kind::Longlong | Kind::Timestamp => self.number(8)?.to_string(),
            Kind::ShortStr => shown(self.string(1)?),
            Kind::LongStr => shown(self.string(4)?),
            Kind::Table => table(self.string(4)?)?,
            Kind::Bit => return None,
        })
    }

    fn value(&mut self) -> Option<String> {
        let kind = self.number(1)? as u8 as char;
        let text = match kind {
            't' => (self.number(1)? != 0).to_string(),
            'b' => (self.number(1)? as i8).to_string(),
            'B' => self.number(1)?.to_string(),
            's' => (self.number(2)? as i16).to_string(),
            'u' => self.number(2)?.to_string(),
            'I' => (self.number(4)? as i32).to_string(),
            'i' => self.number(4)?.to_string(),
            'l' | 'L' => (self.number(8)? as i64).to_string(),
            'T' => time(self.number(8)?),
            'f' => f32::from_bits(self.number(4)? as u32).to_string(),
            'd' => f64::from_bits(self.number(8)?).to_string(),
            'D' => format!("{}/{}", self.number(1)?, self.number(4)?),
            'S' => shown(self.string(4)?),
            'x' => digits(self.string(4)?),
            'F' => table(self.string(4)?)?,
            'A' => {
                let mut items = Octets(self.string(4)?);
                let mut shown = Vec::new();
                while !items.0.is_empty() {
                    shown.push(items.value()?);
                }
                format!("[{}]", shown.join(","))
            }
            'V' => return Some("V".into()),
            _ => return None,
        };
        Some(format!("{kind}:{text}"))
    }
}

fn table(octets: &[u8]) -> Option<String> {
    let mut from = Octets(octets);
    let mut fields = Vec::new();
    while !from.0.is_empty() {
        let key = shown(from.string(1)?);
        fields.push(format!("{key}:{}", from.value()?));
    }
    Some(format!("{{{}}}", fields.join(",")))
}

/// A time close to now differs from run to run.
fn time(seconds: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    match now.unwrap().as_secs().abs_diff(seconds) {
        0..1000 => "now".into(),
        _ => seconds.to_string(),
    }
}

/// Octets in hexadecimal.
pub(crate) fn digits(octets: &[u8]) -> String {
    octets.iter().map(|o| format!("{o:02x}")).collect()
}

/// A string as a step would write it.
pub(crate) fn shown(octets: &[u8]) -> String {
    if let [first, _, ..] = octets
        && octets.len() > 60
        && octets.iter().all(|o| o == first)
    {
        return format!("{}*{}", quoted(&[*first]), octets.len());
    }
    let bare = |o: &u8| o.is_ascii_alphanumeric() || b"._-$/+*#@%&".contains(o);
    match !octets.is_empty() && octets.iter().all(bare) {
        true => String::from_utf8_lossy(octets).into_owned(),
        false => quoted(octets),
    }
}

fn quoted(octets: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in octets.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '"' | '\\' => out.extend(['\\', c]),
                c if c.is_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
                c => out.push(c),
            }
        }
        for o in chunk.invalid() {
            out.push_str(&format!("\\x{o:02x}"));
        }
    }
    out.push('"');
    out
}
