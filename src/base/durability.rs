//! When a message counts as durable: a word of the store's and of the queues'.
//!
//! Owns the names; the store does what they say.

/// What "durable" means for a message, the weaker first. Catalogue changes are always synced before they
/// count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Durability {
    /// Written; the kernel decides when it reaches the disk.
    Os,
    /// Written, and synced at an interval: survives the end of the process; a power cut takes at
    /// most what was written within one interval.
    Interval,
    /// Written and synced: survives a power cut. The default.
    #[default]
    Fsync,
}

impl Durability {
    /// All of them, the weaker first.
    pub const ALL: [Durability; 3] = [Durability::Os, Durability::Interval, Durability::Fsync];

    /// Its name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Durability::Os => "os",
            Durability::Interval => "interval",
            Durability::Fsync => "fsync",
        }
    }

    /// By its name in settings.
    pub fn from_name(name: &str) -> Option<Durability> {
        Durability::ALL
            .into_iter()
            .find(|known| known.name() == name)
    }
}
