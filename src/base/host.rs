//! What the machine calls itself.

/// The node's name, `warren@host`.
pub fn node_name() -> String {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    format!("warren@{}", host.split('.').next().unwrap_or_default())
}
