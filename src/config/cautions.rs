//! Settings that are taken, but do nothing, or not what they seem to.

use super::{Config, Verify};
use std::path::Path;

/// The tags that mean something here.
const TAGS: [&str; 5] = [
    "administrator",
    "monitoring",
    "policymaker",
    "management",
    "impersonator",
];

impl Config {
    /// A line for each, for the log.
    pub fn cautions(&self) -> Vec<String> {
        let mut found = Vec::new();
        let tags = &self.auth.default_tags;
        if let Some(tag) = tags.iter().find(|tag| !TAGS.contains(&tag.as_str())) {
            let known = TAGS.join(", ");
            found.push(format!(
                "auth.default_tags: {tag:?} gives no right; those that do are {known}"
            ));
        }
        let set = |path: &Path| !path.as_os_str().is_empty();
        let tls = &self.tls;
        if tls.listen.is_empty() {
            let files = [
                ("tls.cert_file", &tls.cert_file),
                ("tls.key_file", &tls.key_file),
                ("tls.ca_file", &tls.ca_file),
                ("tls.crl_file", &tls.crl_file),
            ];
            if let Some((key, _)) = files.into_iter().find(|(_, path)| set(path)) {
                found.push(format!("{key} has no effect: tls.listen is empty"));
            }
        } else if tls.verify == Verify::None && set(&tls.crl_file) {
            found.push("tls.crl_file has no effect: tls.verify is \"none\"".to_owned());
        }
        found
    }
}
