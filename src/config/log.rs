//! What a log filter may be.
//!
//! Owns the check only: what filters is `tracing`'s.

use tracing_subscriber::EnvFilter;

/// What may stand alone in a filter. Its numbers are levels too.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// `tracing` takes a word that is no level for the name of a target, and logs nothing but what that one says: a
/// mistyped level would silence the broker.
pub(super) fn check(filter: &str) -> Result<(), String> {
    let is_level = |word: &str| {
        LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word))
            || word.parse().is_ok_and(|number: u8| number <= 5)
    };
    let directives = || filter.split(',').map(str::trim);
    let strange = directives().find(|directive| {
        let is_target = directive.contains(['=', '[']) || directive.contains("::");
        !directive.is_empty() && !is_target && !is_level(directive)
    });
    let allowed = "say off, error, warn, info, debug or trace, or TARGET=LEVEL as in \"warn,warren::amqp=debug\"";
    if let Some(word) = strange {
        return Err(format!("{word:?} is no level: {allowed}"));
    }
    if directives().all(str::is_empty) {
        return Err(format!("nothing would be logged: {allowed}"));
    }
    match EnvFilter::try_new(filter) {
        Ok(_) => Ok(()),
        Err(fault) => Err(format!("{fault}: {allowed}")),
    }
}
