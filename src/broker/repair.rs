//! `warren repair`: what can be saved of a damaged data directory, queue by queue.
//!
//! Owns the words; the store does the work.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use super::access_rows::{
    PermissionRow, TopicPermissionRow, UserLimitsRow, UserRow, VhostLimitsRow,
};
use super::parameters::{GlobalParameterRow, ParameterRow};
use super::policies::PolicyRow;
use super::restore::OpenError;
use super::rows::{BindingRow, ExchangeRow, QueueRow, RoleRow, Row, VhostRow};
use crate::base::QueueId;
use crate::message::Message;
use crate::store::{self, Damage, Loss, Repair, Table};

/// Examines the data directory and tells what is lost; with `apply`, saves what can be read. True if a broker
/// can start on it now, and finds no damage.
///
/// # Errors
///
/// As opening the data directory, for what no repair helps against.
pub fn repair(directory: &Path, apply: bool, out: &mut dyn Write) -> Result<bool, OpenError> {
    let mut progress = |messages: u64| {
        // On standard error, which nobody may read.
        let _ = writeln!(io::stderr(), "{messages} messages read");
    };
    let describe = Message::describe_logged;
    let done = store::repair(directory, apply, describe, &is_row, &mut progress)?;
    let names = names(&done);
    // Who does not read it does not need it.
    let _ = tell(&done, &names, apply, out);
    if names.is_empty() && !done.kept.is_empty() {
        return Err(OpenError::CatalogueLost);
    }
    Ok(done.damage.is_empty() || apply)
}

/// Whether a row that may be damaged can be understood.
fn is_row(table: Table, value: &[u8]) -> bool {
    match table {
        Table::Vhosts => VhostRow::read(value).is_ok(),
        Table::Users => UserRow::read(value).is_ok(),
        Table::Permissions => PermissionRow::read(value).is_ok(),
        Table::TopicPermissions => TopicPermissionRow::read(value).is_ok(),
        Table::Exchanges => ExchangeRow::read(value).is_ok(),
        Table::Queues => QueueRow::read(value).is_ok(),
        Table::Bindings => BindingRow::read(value).is_ok(),
        Table::Policies | Table::OperatorPolicies => PolicyRow::read(value).is_ok(),
        Table::VhostLimits => VhostLimitsRow::read(value).is_ok(),
        Table::UserLimits => UserLimitsRow::read(value).is_ok(),
        Table::Parameters => ParameterRow::read(value).is_ok(),
        Table::GlobalParameters => GlobalParameterRow::read(value).is_ok(),
        Table::Meta => true,
    }
}

/// Most places of damage that are told one by one.
const TOLD_MAX: usize = 100;

fn tell(
    done: &Repair,
    names: &HashMap<QueueId, String>,
    apply: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let kept: u64 = done.kept.values().sum();
    if done.damage.is_empty() {
        return writeln!(out, "no damage: {kept} messages can be read");
    }
    for found in done.damage.iter().take(TOLD_MAX) {
        let Damage {
            file,
            offset,
            end,
            reason,
        } = found;
        match end {
            Some(end) => writeln!(out, "{file}, offset {offset} to {end}: {reason}")?,
            None => writeln!(out, "{file}, offset {offset}: {reason}")?,
        }
    }
    if let Some(more) = done.damage.len().checked_sub(TOLD_MAX).filter(|n| *n > 0) {
        writeln!(out, "and {more} more places")?;
    }
    for (queue, Loss { lost, kept }) in &done.lost {
        match names.get(queue) {
            Some(name) => writeln!(out, "{name}: {lost} messages lost, {kept} kept")?,
            None => writeln!(out, "of no known queue: {lost} messages lost")?,
        }
    }
    for (queue, kept) in &done.kept {
        if !names.contains_key(queue) {
            writeln!(
                out,
                "of no known queue: {kept} messages, which the start drops"
            )?;
        }
    }
    let lost: u64 = done.lost.values().map(|loss| loss.lost).sum();
    writeln!(out, "in all: {lost} messages lost, {kept} kept")?;
    writeln!(
        out,
        "Not counted: what was published in a damaged stretch and no record of it is left. \
         What was acked there comes again."
    )?;
    if !apply {
        return writeln!(
            out,
            "Nothing was changed. Save what can be read with --apply"
        );
    }
    for copy in &done.set_aside {
        writeln!(out, "set aside: {}", copy.display())?;
    }
    writeln!(out, "Repaired: start the broker")
}

/// What the queues are called.
fn names(done: &Repair) -> HashMap<QueueId, String> {
    let rows = done.rows.get(&Table::Queues).into_iter().flatten();
    let rows = rows.filter_map(|row| QueueRow::read(&row.value).ok());
    rows.map(|row| {
        let what = match row.role {
            RoleRow::Client => "queue",
            RoleRow::Store => "what is kept by exchange",
            RoleRow::ExchangeWindow => "ids seen by exchange",
            RoleRow::QueueWindow => "ids seen by queue",
        };
        let name = format!(
            "{what} {:?} in vhost {:?}",
            row.name.as_str(),
            row.vhost.as_str()
        );
        (row.id, name)
    })
    .collect()
}
