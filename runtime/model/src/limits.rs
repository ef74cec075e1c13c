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

/// `[limits.NAME]` as the operator wrote it: what is left out is taken from elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsDecl {
    /// See [`Limits::memory`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// See [`Limits::table_elements`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_elements: Option<u64>,
    /// See [`Limits::stack`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<u64>,
    /// See [`Limits::render_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub render_ms: Option<u64>,
    /// See [`Limits::observe_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observe_ms: Option<u64>,
    /// See [`Limits::steps_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps_ms: Option<u64>,
    /// See [`Limits::host_call`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_call: Option<u64>,
    /// See [`Limits::host_calls`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_calls: Option<u64>,
    /// See [`Limits::log`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<u64>,
    /// See [`Limits::output`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
    /// See [`Limits::component`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<u64>,
    /// See [`Limits::batch`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<u64>,
}

impl LimitsDecl {
    /// These limits, and those of `below` where nothing is said.
    #[must_use]
    pub fn over(&self, below: &Limits) -> Limits {
        Limits {
            memory: self.memory.unwrap_or(below.memory),
            table_elements: self.table_elements.unwrap_or(below.table_elements),
            stack: self.stack.unwrap_or(below.stack),
            render_ms: self.render_ms.unwrap_or(below.render_ms),
            observe_ms: self.observe_ms.unwrap_or(below.observe_ms),
            steps_ms: self.steps_ms.unwrap_or(below.steps_ms),
            host_call: self.host_call.unwrap_or(below.host_call),
            host_calls: self.host_calls.unwrap_or(below.host_calls),
            log: self.log.unwrap_or(below.log),
            output: self.output.unwrap_or(below.output),
            component: self.component.unwrap_or(below.component),
            batch: self.batch.unwrap_or(below.batch),
        }
    }
}
