//! Faults of policies and parameters, as the management tools show them (A9).
//!
//! Owns the texts, which are RabbitMQ's. What is valid is the broker's to know.

use std::fmt;

use serde_json::Value;

use super::BinaryTerm;

/// What is wrong with a policy.
#[derive(Debug, Clone, Copy)]
pub enum PolicyFault<'a> {
    /// It has no keys.
    Empty,
    /// The definition is no JSON object.
    NotADictionary(&'a Value),
    /// Keys that no policy of this sort has, with their values.
    Unrecognised(&'a [(&'a str, &'a Value)]),
    /// A value that does not do.
    Invalid {
        /// The value.
        value: &'a Value,
        /// What it was to be: `message TTL`.
        what: &'a str,
    },
    /// The pattern is no regular expression.
    Pattern {
        /// What is wrong with it.
        reason: &'a str,
    },
    /// An unknown `apply-to`.
    ApplyTo(&'a str),
    /// The name is empty or longer than 255 octets.
    Name,
}

/// What is wrong with a parameter.
#[derive(Debug, Clone, Copy)]
pub enum ParameterFault<'a> {
    /// Nothing is known of the component.
    NoComponent(&'a str),
    /// The name is empty or longer than 255 octets.
    Name,
}

impl fmt::Display for ParameterFault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Validation failed\n\n")?;
        match self {
            ParameterFault::NoComponent(name) => writeln!(f, "component {name} not found"),
            ParameterFault::Name => f.write_str("a name must have 1 to 255 octets\n"),
        }
    }
}

/// RabbitMQ's frame around each: a heading, an empty line, and a line for the fault.
impl fmt::Display for PolicyFault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Validation failed\n\n")?;
        match self {
            PolicyFault::Empty => f.write_str("no policy provided")?,
            PolicyFault::NotADictionary(value) => {
                write!(f, "definition must be a dictionary: {}", Term(value))?;
            }
            PolicyFault::Unrecognised(keys) => {
                f.write_str("[")?;
                for (number, (key, value)) in keys.iter().enumerate() {
                    let comma = if number == 0 { "" } else { "," };
                    let key = BinaryTerm(key.as_bytes());
                    write!(f, "{comma}{{{key},{}}}", Term(value))?;
                }
                f.write_str("] are not recognised policy settings")?;
            }
            PolicyFault::Invalid { value, what } => {
                write!(f, "{} is not a valid {what}", Term(value))?;
            }
            PolicyFault::Pattern { reason } => {
                write!(
                    f,
                    "pattern should be regular expression but is invalid: {reason}"
                )?;
            }
            PolicyFault::ApplyTo(word) => write!(
                f,
                "apply-to '{word}' unrecognised; should be one of: 'queues', 'classic_queues', \
                 'quorum_queues', 'streams', 'exchanges', or 'all'"
            )?,
            PolicyFault::Name => f.write_str("a name must have 1 to 255 octets")?,
        }
        f.write_str("\n")
    }
}

/// A JSON value in Erlang's notation.
struct Term<'a>(&'a Value);

impl fmt::Display for Term<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("null"),
            Value::Bool(flag) => write!(f, "{flag}"),
            Value::Number(number) => write!(f, "{number}"),
            Value::String(text) => write!(f, "{}", BinaryTerm(text.as_bytes())),
            Value::Array(items) => {
                f.write_str("[")?;
                for (number, item) in items.iter().enumerate() {
                    let comma = if number == 0 { "" } else { "," };
                    write!(f, "{comma}{}", Term(item))?;
                }
                f.write_str("]")
            }
            Value::Object(fields) => {
                f.write_str("#{")?;
                for (number, (key, value)) in fields.iter().enumerate() {
                    let comma = if number == 0 { "" } else { "," };
                    write!(
                        f,
                        "{comma}{} => {}",
                        BinaryTerm(key.as_bytes()),
                        Term(value)
                    )?;
                }
                f.write_str("}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Each as RabbitMQ 3.10.8 said it.
    #[test]
    fn a9_faults_are_rabbitmqs() {
        let one = json!(1);
        let value = json!([1, "a", {"b": null}]);
        for (fault, line) in [
            (PolicyFault::Empty, "no policy provided"),
            (
                PolicyFault::Unrecognised(&[("x-foo", &one)]),
                "[{<<\"x-foo\">>,1}] are not recognised policy settings",
            ),
            (
                PolicyFault::Invalid {
                    value: &value,
                    what: "dead letter exchange name",
                },
                "[1,<<\"a\">>,#{<<\"b\">> => null}] is not a valid dead letter exchange name",
            ),
        ] {
            assert_eq!(fault.to_string(), format!("Validation failed\n\n{line}\n"));
        }
    }
}
