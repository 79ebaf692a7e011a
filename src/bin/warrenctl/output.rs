//! How results are printed: as rabbitmqctl does, so that scripts go on reading them.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use serde_json::{Map, Value};

/// The forms of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Formatter {
    /// Columns parted by tabs, a line of headings first
    Table,
    /// Columns with lines around them, for people
    PrettyTable,
    /// Comma separated, quoted where needed
    Csv,
    /// One JSON value
    Json,
    /// A JSON object a line
    JsonStream,
}

/// How much is printed, and in which form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) formatter: Formatter,
    /// No line that says what is done.
    pub(crate) quiet: bool,
    /// Only the rows.
    pub(crate) silent: bool,
    pub(crate) headers: bool,
}

impl Output {
    /// Whether the form is one that people read.
    pub(crate) fn is_for_people(&self) -> bool {
        matches!(self.formatter, Formatter::Table | Formatter::PrettyTable)
    }

    /// Says what is about to be done, for people.
    pub(crate) fn intro(&self, what: &str) {
        if self.is_for_people() && !self.quiet && !self.silent {
            let _ = writeln!(io::stdout(), "{what} ...");
        }
    }

    /// A result that is a list of rows.
    pub(crate) fn rows(&self, columns: &[String], rows: Vec<Map<String, Value>>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let of = |row: &Map<String, Value>, column: &String| {
            row.get(column).cloned().unwrap_or(Value::Null)
        };
        match self.formatter {
            Formatter::Json => {
                let all: Vec<Value> = rows.into_iter().map(Value::Object).collect();
                writeln!(out, "{}", Value::Array(all))
            }
            Formatter::JsonStream => rows
                .into_iter()
                .try_for_each(|row| writeln!(out, "{}", Value::Object(row))),
            Formatter::PrettyTable => {
                let mut table = Table::new();
                table.load_style(UTF8_FULL_CONDENSED);
                if self.shows_headers() {
                    table.set_header(columns);
                }
                for row in &rows {
                    table.add_row(columns.iter().map(|c| plain(&of(row, c))));
                }
                writeln!(out, "{table}")
            }
            Formatter::Csv => {
                let mut csv = csv::Writer::from_writer(out);
                if self.shows_headers() {
                    csv.write_record(columns).map_err(csv_fault)?;
                }
                for row in &rows {
                    let fields = columns.iter().map(|c| plain(&of(row, c)));
                    csv.write_record(fields).map_err(csv_fault)?;
                }
                csv.flush()
            }
            Formatter::Table => {
                if self.shows_headers() && !rows.is_empty() {
                    line(&mut out, columns.iter().cloned())?;
                }
                rows.iter()
                    .try_for_each(|row| line(&mut out, columns.iter().map(|c| plain(&of(row, c)))))
            }
        }
    }

    /// A result that is one thing.
    pub(crate) fn value(&self, value: &Value) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match (self.formatter, value) {
            (Formatter::Json | Formatter::JsonStream, _) => writeln!(out, "{value}"),
            (_, Value::Object(fields)) => fields
                .iter()
                .try_for_each(|(name, value)| writeln!(out, "{name}\t{}", plain(value))),
            _ => writeln!(out, "{}", plain(value)),
        }
    }

    /// A line of text that is the result.
    pub(crate) fn text(&self, text: &str) -> io::Result<()> {
        match self.formatter {
            Formatter::Json | Formatter::JsonStream => self.value(&Value::String(text.to_owned())),
            _ => writeln!(io::stdout().lock(), "{text}"),
        }
    }

    fn shows_headers(&self) -> bool {
        self.headers && !self.silent
    }
}

/// The system's fault, of whose kind the library makes none.
fn csv_fault(fault: csv::Error) -> io::Error {
    match fault.into_kind() {
        csv::ErrorKind::Io(fault) => fault,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// A value as one field of a line.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        // As rabbitmqctl shows lists of tags and tables of arguments.
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<Value> = fields
                .iter()
                .map(|(name, value)| Value::String(format!("{name}: {}", plain(value))))
                .collect();
            plain(&Value::Array(fields))
        }
        other => other.to_string(),
    }
}

fn line(out: &mut impl Write, fields: impl Iterator<Item = String>) -> io::Result<()> {
    let fields: Vec<String> = fields.map(on_one_line).collect();
    writeln!(out, "{}", fields.join("\t"))
}

/// A name may hold anything; a row is one line all the same.
fn on_one_line(field: String) -> String {
    field
        .replace('\\', "\\\\")
        .replace('\t', "\\t")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_fields_of_one_line() {
        assert_eq!(
            plain(&json!(["administrator", "monitoring"])),
            "[administrator, monitoring]"
        );
        assert_eq!(plain(&json!({"x-max-length": 5})), "[x-max-length: 5]");
        assert_eq!(plain(&json!(null)), "");
        assert_eq!(plain(&json!(true)), "true");
        assert_eq!(on_one_line("a\tb\nc\\".into()), "a\\tb\\nc\\\\");
    }
}
