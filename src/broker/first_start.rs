//! What a new data directory begins with: the first vhost and the first user.
//!
//! Owns the rows that say so. They are written once: who deletes the first user has deleted it.

use super::access_rows::{PermissionRow, UserRow};
use super::restore::OpenError;
use super::rows::{Row, VhostRow};
use super::vhost::VhostSettings;
use super::{Broker, DEFAULT_VHOST};
use crate::auth::{PasswordHash, User};
use crate::base::Name;
use crate::config::Auth;
use crate::store::{Log, Recovered, Row as StoredRow, StoreError, Table};

/// The row that every catalogue has from the first start on.
const BORN: &[u8] = b"born";

/// The row of those that had a first user.
const PEOPLED: &[u8] = b"peopled";

impl Broker {
    /// Writes what a new data directory begins with, also into what was recovered.
    ///
    /// A catalogue without any queue may be right or may be lost: only the lost one has not even its
    /// first row.
    pub(super) fn first_start(
        recovered: &mut Recovered,
        log: &Log,
        config: &Auth,
    ) -> Result<(), OpenError> {
        let meta = recovered.rows.get(&Table::Meta);
        let has = |key| meta.is_some_and(|rows| rows.iter().any(|row| row.key == key));
        let (is_born, is_peopled) = (has(BORN), has(PEOPLED));
        if is_born && is_peopled {
            return Ok(());
        }
        if !is_born && recovered.holds_messages() {
            return Err(OpenError::CatalogueLost);
        }
        let version = env!("CARGO_PKG_VERSION").as_bytes().to_vec();
        let mut rows = vec![
            (Table::Meta, BORN.to_vec(), version.clone()),
            (Table::Meta, PEOPLED.to_vec(), version),
        ];
        let vhost = VhostRow::of(&DEFAULT_VHOST.into(), &VhostSettings::default());
        rows.push((Table::Vhosts, vhost.key(), vhost.value()));
        // An empty name: nobody gets in until the directory is filled some other way.
        if !config.default_user.is_empty() {
            let (user, permission) = first_user(config)?;
            rows.push((Table::Users, user.key(), user.value()));
            rows.push((Table::Permissions, permission.key(), permission.value()));
        }
        let mut batch = log.batch();
        for (table, key, value) in rows {
            batch.put(table, &key, &value);
            let found = recovered.rows.entry(table).or_default();
            found.push(StoredRow { key, value });
        }
        let appended = log.append(batch);
        appended
            .map(drop)
            .map_err(|e| OpenError::Store(StoreError::from(e)))
    }
}

fn first_user(config: &Auth) -> Result<(UserRow, PermissionRow), OpenError> {
    let password = PasswordHash::new(config.default_password.as_bytes())?;
    let tags = config.default_tags.iter();
    let user = User {
        name: config.default_user.as_str().into(),
        password: Some(password),
        tags: tags.map(|tag| Name::from(tag.as_str())).collect(),
    };
    let [configure, write, read] = config.default_permissions.clone();
    let permission = PermissionRow {
        user: user.name.clone(),
        vhost: DEFAULT_VHOST.into(),
        configure,
        write,
        read,
    };
    Ok((UserRow::from(&user), permission))
}
