//! What a call of a plugin costs, measured with a real component: `cargo xtask bench`
//! builds this with the release profile and prints what it says.
//!
//! ```text
//! figures COMPONENT
//! ```
//! Prints one JSON object, times in microseconds.
#![expect(clippy::print_stdout, reason = "its output is what it is run for")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tidelock_host::{Eyes, Host, HostOptions, Lock, PluginRoom};
use tidelock_model::config::{TargetDecl, TargetKind};
use tidelock_model::event::RunEvent;
use tidelock_model::limits::Limits;
use tidelock_model::name::{Lane, Name};
use tidelock_model::port::{Declared, Listener, Plugins};
use tidelock_target::{Machine, MachineOptions};

/// Calls that are timed one by one.
const CALLS: u32 = 2_000;
/// Resources that cross in one call, and how often.
const RESOURCES: usize = 1_000;
const ROUNDS: u32 = 20;

struct Deaf;

impl Listener for Deaf {
    fn event(&self, _: Option<&str>, _: Option<&Lane>, _: &RunEvent) {}
}

fn declared(number: usize) -> Declared {
    Declared {
        address: format!("server.file/f{number:05}"),
        kind: "server.file".parse().expect("a kind"),
        spec: json!({
            "path": format!("/srv/f{number:05}"), "mode": "0644",
            "content": { "digest": format!("sha256:{}", "ab".repeat(32)), "size": 1024 },
        }),
    }
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let component = std::env::args_os().nth(1).ok_or("name the component of the plugin `server`")?;
    let folder = tempfile::tempdir()?;
    let cache_dir = folder.path().join("cache");
    let limits = BTreeMap::from([("default".to_owned(), Limits::default())]);
    let host = Arc::new(Host::new(HostOptions { cache_dir, limits }, Arc::new(Deaf))?);
    let facts = host.load_bytes("server.wasm", Cow::Owned(std::fs::read(component)?))?;
    let mut lock = Lock::read(folder.path().join("tidelock.lock"))?;
    lock.accept(&facts.plugin);
    let target = TargetDecl {
        kind: TargetKind::Machine,
        root: Some(folder.path().display().to_string()),
        netns: None,
        labels: BTreeMap::new(),
        facts: BTreeMap::new(),
        drift_every: None,
        ..TargetDecl::default()
    };
    let name = Name::new("local")?;
    let machine = Machine::open(&name, &target, vec![], MachineOptions::default())?;
    let room = PluginRoom::new(host, lock, Arc::new(move |_| Ok(Eyes::on_machine(machine.clone()))));
    let began = Instant::now();
    let provider = room.provider("server", &name).await?;
    let compiled = began.elapsed();

    let one = [declared(0)];
    provider.check(&one).await?;
    let began = Instant::now();
    for _ in 0..CALLS {
        provider.check(&one).await?;
    }
    let call = began.elapsed() / CALLS;

    let many: Vec<Declared> = (0..RESOURCES).map(declared).collect();
    let began = Instant::now();
    for _ in 0..ROUNDS {
        provider.check(&many).await?;
    }
    let resource = began.elapsed() / ROUNDS / u32::try_from(RESOURCES)?;
    let micros = |time: std::time::Duration| time.as_secs_f64() * 1e6;
    println!("{}", json!({ "compile": micros(compiled), "call": micros(call), "resource": micros(resource) }));
    Ok(())
}
