//! Limits on plugins: numbers, their names in the config, and their defaults.

use serde::{Deserialize, Serialize};

/// Limits on one call of a plugin. Sizes are bytes, times milliseconds. The
/// defaults follow what hosts of this kind settled on (see ARCHITECTURE.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Linear memory.
    pub memory: u64,
    /// Elements of all tables together.
    pub table_elements: u64,
    /// The Wasm stack.
    pub stack: u64,
    /// Wall clock of a render.
    pub render_ms: u64,
    /// Wall clock of `observe` and `normalise`.
    pub observe_ms: u64,
    /// Wall clock of `steps`, `check` and `describe`.
    pub steps_ms: u64,
    /// Bytes that one host call may carry into the host.
    pub host_call: u64,
    /// Host calls of one call.
    pub host_calls: u64,
    /// Log lines of one call, together.
    pub log: u64,
    /// What a call may hand over, together.
    pub output: u64,
    /// The component file.
    pub component: u64,
    /// Resources or subjects of one call; the host splits longer lists.
    pub batch: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 128 << 20,
            table_elements: 20_000,
            stack: 1 << 20,
            render_ms: 5_000,
            observe_ms: 30_000,
            steps_ms: 30_000,
            host_call: 16 << 20,
            host_calls: 1_000_000,
            log: 256 << 10,
            output: 16 << 20,
            component: 32 << 20,
            batch: 1_000,
        }
    }
}
