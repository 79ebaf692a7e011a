//! What differs from run to run, and how a scenario names it.
//!
//! `$` is a prefix of its own for each scenario, so that scenarios share a broker; it depends on
//! the scenario's name only and is always as long. Names the broker makes are numbered as they
//! appear: `amq.gen-1`, `amq.ctag-2`; a step may use such a number.

/// Kinds of names that brokers make, and the characters those go on with.
const MADE: [(&str, &str); 3] = [
    ("amq.gen-", "-_"),
    ("amq.ctag-", "-_"),
    ("amq.rabbitmq.reply-to.", "-_+/=."),
];

/// Server properties that name the product.
const PRODUCT: [&str; 6] = [
    "product",
    "version",
    "platform",
    "copyright",
    "information",
    "cluster_name",
];

/// Shorter ones were made by the scenario itself.
const MADE_MIN: usize = 20;

/// Names of one scenario.
pub(crate) struct Names {
    prefix: String,
    made: Vec<(String, String)>,
}

impl Names {
    /// For a scenario.
    pub(crate) fn new(scenario: &str) -> Self {
        // FNV-1a: the same in every build.
        let hash = scenario.bytes().fold(0x811c_9dc5_u32, |hash, octet| {
            (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193)
        });
        Names {
            prefix: format!("o{hash:08x}-"),
            made: Vec::new(),
        }
    }

    /// What `$` stands for.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A step with its real names.
    pub(crate) fn real(&self, step: &str) -> String {
        let mut text = step.replace('$', &self.prefix);
        // The last first: amq.gen-1 is the beginning of amq.gen-12.
        for (real, name) in self.made.iter().rev() {
            text = text.replace(name, real);
        }
        text
    }

    /// What came, with the names a transcript uses.
    pub(crate) fn normal(&mut self, text: &str) -> String {
        let mut text = text.replace(&self.prefix, "$");
        if text.starts_with("connection.start ") {
            text = without_product(text);
        }
        for (kind, more) in MADE {
            let mut from = 0;
            while let Some(at) = text[from..].find(kind) {
                let start = from + at;
                let end = |c: char| !c.is_ascii_alphanumeric() && !more.contains(c);
                let rest = &text[start + kind.len()..];
                let length = kind.len() + rest.find(end).unwrap_or(rest.len());
                from = start + kind.len();
                if length < kind.len() + MADE_MIN {
                    continue;
                }
                let real = text[start..start + length].to_owned();
                let name = self.named(kind, &real);
                // One broker's names have characters that ask for quotes, another's have none.
                let alone = text[..start].ends_with('"') && text[start + length..].starts_with('"');
                let quotes = usize::from(alone);
                text.replace_range(start - quotes..start + length + quotes, &name);
            }
        }
        text
    }

    fn named(&mut self, kind: &str, real: &str) -> String {
        if let Some((_, name)) = self.made.iter().find(|(known, _)| known == real) {
            return name.clone();
        }
        let number = 1 + self
            .made
            .iter()
            .filter(|(r, _)| r.starts_with(kind))
            .count();
        let name = format!("{kind}{number}");
        self.made.push((real.to_owned(), name.clone()));
        name
    }
}

/// Server properties as every broker has them: those of the product are gone.
fn without_product(mut text: String) -> String {
    for name in PRODUCT {
        for before in [',', '{'] {
            let key = format!("{before}{name}:S:");
            let Some(at) = text.find(&key) else {
                continue;
            };
            let value = &text[at + key.len()..];
            let length = match value.strip_prefix('"') {
                Some(quoted) => quoted.find('"').unwrap_or(quoted.len()) + 2,
                None => value.find([',', '}']).unwrap_or(value.len()),
            };
            text.replace_range(at + 1..at + key.len() + length, &format!("{name}:*"));
        }
    }
    let within = text
        .find("capabilities:F:{")
        .map(|at| at + "capabilities:F:{".len());
    if let Some(start) = within
        && let Some(length) = text[start..].find('}')
    {
        // A table has no order, and no client could rely on one here.
        let mut sorted: Vec<&str> = text[start..start + length].split(',').collect();
        sorted.sort_unstable();
        let sorted = sorted.join(",");
        text.replace_range(start..start + length, &sorted);
    }
    text
}
