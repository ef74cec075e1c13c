//! The one wasmtime engine of the process: what guests may be made of, how they are
//! interrupted, and how many run at once.
//!
//! One engine, since types of one engine mean nothing to another. Threads, garbage
//! collection and the async part of the component model stay off: a plugin has no
//! use for them, and they are where most faults of runtimes were found.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tidelock_model::error::{Blame, Fault};
use tidelock_model::limits::Limits;
use tokio::sync::Semaphore;
use wasmtime::{Config, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

/// How often the epoch moves: a guest that spins is looked at this often.
const TICK: Duration = Duration::from_millis(5);
/// Calls at once. Further ones wait their turn.
const SLOTS: u32 = 32;
/// What one component may be made of. wit-component makes three core instances,
/// one memory and two tables of an ordinary plugin.
pub(crate) const CORE_INSTANCES: u32 = 16;
pub(crate) const MEMORIES: u32 = 2;
pub(crate) const TABLES: u32 = 8;
/// Room on a fiber's stack for the host's own functions.
const HOST_STACK: u64 = 1 << 20;

/// The engine, and the places in it.
pub(crate) struct EngineRoom {
    pub(crate) engine: Engine,
    pub(crate) slots: Arc<Semaphore>,
    /// Whether instances come from a pool; else each is mapped anew.
    pub(crate) pooled: bool,
}

impl EngineRoom {
    /// Makes the engine, with a pool where the machine allows one, and starts its clock.
    pub(crate) fn new<'a>(all: impl IntoIterator<Item = &'a Limits>) -> Result<Self, Fault> {
        // Memory and stack are reserved for all plugins alike: the largest limit
        // counts here. The limit of each plugin is kept by its meter.
        let (mut memory, mut stack, mut elements) = (1 << 16, 1 << 16, 1);
        for limits in all {
            memory = memory.max(limits.memory);
            stack = stack.max(limits.stack);
            elements = elements.max(limits.table_elements);
        }
        let (engine, pooled) = match build(memory, stack, elements, true) {
            Ok(engine) => (engine, true),
            // A pool reserves address space for all its places at once, which a
            // `ulimit -v` or a small machine may refuse.
            Err(refused) => {
                tracing::debug!("no pool of instances: {refused:#}");
                (build(memory, stack, elements, false).map_err(|error| unusable(&error))?, false)
            }
        };
        tick(engine.weak()).map_err(|error| {
            Fault::new("io", Blame::Host, format!("cannot start the clock that interrupts plugins: {error}"))
        })?;
        Ok(Self { engine, slots: Arc::new(Semaphore::new(SLOTS as usize)), pooled })
    }
}

fn unusable(error: &wasmtime::Error) -> Fault {
    Fault::new("io", Blame::Host, format!("cannot set up the Wasm engine on this machine: {error:#}"))
}

fn build(memory: u64, stack: u64, elements: u64, pooled: bool) -> wasmtime::Result<Engine> {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .memory_init_cow(true)
        .max_wasm_stack(size(stack))
        .async_stack_size(size(stack.saturating_add(HOST_STACK)))
        .wasm_backtrace_max_frames(NonZeroUsize::new(16))
        // The same inputs give the same bytes, on every machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_threads(false)
        .wasm_shared_everything_threads(false)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_memory64(false)
        .wasm_exceptions(false)
        .wasm_stack_switching(false);
    if pooled {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(SLOTS)
            .total_stacks(SLOTS)
            .total_core_instances(SLOTS * CORE_INSTANCES)
            .total_memories(SLOTS * MEMORIES)
            .total_tables(SLOTS * TABLES)
            .max_core_instances_per_component(CORE_INSTANCES)
            .max_memories_per_component(MEMORIES)
            .max_tables_per_component(TABLES)
            .table_elements(size(elements))
            .max_memory_size(size(memory));
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    Engine::new(&config)
}

/// Moves the epoch until the engine is gone. The thread holds the engine weakly, so
/// that it ends by itself.
fn tick(engine: EngineWeak) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("tidelock-epoch".into())
        .spawn(move || {
            loop {
                std::thread::sleep(TICK);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => break,
                }
            }
        })
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_dropped_takes_its_clock_along() {
        let room = EngineRoom::new([&Limits::default()]).unwrap();
        let weak = room.engine.weak();
        drop(room);
        let gone = (0..200).any(|_| {
            std::thread::sleep(TICK);
            weak.upgrade().is_none()
        });
        assert!(gone, "the clock keeps the engine alive");
    }

    #[test]
    fn without_address_space_for_a_pool_there_is_still_an_engine() {
        let limits = Limits { memory: 1 << 45, ..Limits::default() };
        let room = EngineRoom::new([&limits]).unwrap();
        assert!(!room.pooled);
    }
}
