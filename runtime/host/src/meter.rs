//! What a call may use of memory and tables, and the faults that say which limit
//! was met, by how much, and which key of the config raises it.

use tidelock_model::error::{Blame, Fault};
use tidelock_model::limits::Limits;
use wasmtime::ResourceLimiter;

use crate::engine::{CORE_INSTANCES, MEMORIES, TABLES};

/// Why the host ended a call. Travels through wasmtime as an error and comes out
/// as the fault that it holds.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub(crate) struct Stop(pub(crate) Box<Fault>);

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self(Box::new(fault))
    }
}

/// A limit was met. `used` is what was asked for, in the unit of the limit.
pub(crate) fn limit(plugin: &str, field: &str, what: &str, used: u64, allowed: u64) -> Fault {
    Fault::new("limit", Blame::Plugin, format!("plugin {plugin} {what}: {used}, and the limit is {allowed}"))
        .hint(format!("raise limits.{plugin}.{field} in tidelock.toml, or make the plugin use less"))
}

/// A call took too long.
pub(crate) fn timeout(plugin: &str, call: &str, field: &str, ms: u64) -> Fault {
    Fault::new("timeout", Blame::Plugin, format!("plugin {plugin} did not end `{call}` within {ms} ms"))
        .hint(format!("raise limits.{plugin}.{field} in tidelock.toml, or make the plugin do less"))
        .retryable()
}

/// Counts the memory and the table elements of one call, over all its instances.
pub(crate) struct Meter {
    plugin: String,
    memory: Count,
    elements: Count,
}

struct Count {
    used: u64,
    allowed: u64,
    /// The last growth that was let through, taken back if it then fails.
    last: u64,
}

impl Count {
    fn new(allowed: u64) -> Self {
        Self { used: 0, allowed, last: 0 }
    }

    /// Takes a growth, or says what the sum would have been.
    fn grow(&mut self, current: usize, desired: usize) -> Result<(), u64> {
        let more = desired.saturating_sub(current) as u64;
        let sum = self.used.saturating_add(more);
        if sum > self.allowed {
            return Err(sum);
        }
        (self.used, self.last) = (sum, more);
        Ok(())
    }

    fn take_back(&mut self) {
        self.used -= std::mem::take(&mut self.last);
    }
}

impl Meter {
    pub(crate) fn new(plugin: &str, limits: &Limits) -> Self {
        Self {
            plugin: plugin.to_owned(),
            memory: Count::new(limits.memory),
            elements: Count::new(limits.table_elements),
        }
    }
}

// An error ends the call, and names the limit; a plain `false` would let the guest
// abort somewhere far from the cause.
impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        match self.memory.grow(current, desired) {
            Ok(()) => Ok(true),
            Err(sum) => {
                Err(Stop::from(limit(&self.plugin, "memory", "wants more memory (bytes)", sum, self.memory.allowed))
                    .into())
            }
        }
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        match self.elements.grow(current, desired) {
            Ok(()) => Ok(true),
            Err(sum) => Err(Stop::from(limit(
                &self.plugin,
                "table_elements",
                "wants more table elements",
                sum,
                self.elements.allowed,
            ))
            .into()),
        }
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.take_back();
        Ok(())
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.elements.take_back();
        Ok(())
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES as usize
    }

    fn memories(&self) -> usize {
        MEMORIES as usize
    }

    fn tables(&self) -> usize {
        TABLES as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_count_together_and_the_fault_names_the_key() {
        let mut meter = Meter::new("server", &Limits { memory: 1 << 20, ..Limits::default() });
        assert!(meter.memory_growing(0, 900 << 10, None).unwrap());
        let error = meter.memory_growing(0, 200 << 10, None).unwrap_err();
        let fault = &error.downcast_ref::<Stop>().unwrap().0;
        assert_eq!(fault.code, "limit");
        assert!(fault.message.contains("1126400") && fault.message.contains("1048576"), "{fault}");
        assert!(fault.hint.as_ref().unwrap().contains("limits.server.memory"));
    }

    #[test]
    fn a_growth_that_fails_is_not_counted() {
        let mut meter = Meter::new("server", &Limits { memory: 100, ..Limits::default() });
        assert!(meter.memory_growing(0, 90, None).unwrap());
        meter.memory_grow_failed(wasmtime::Error::msg("no")).unwrap();
        assert!(meter.memory_growing(0, 90, None).unwrap());
    }
}
