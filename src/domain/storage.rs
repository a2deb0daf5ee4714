//! Where vectors are searched.

use serde::{Deserialize, Serialize};

/// Where the vectors of a collection's sealed segments lie while it is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VectorStorage {
    /// In memory.
    #[default]
    Memory,
    /// In files that the system reads as they are needed: codes and links stay in memory.
    Disk,
}
