//! A network namespace of a test's own, which goes with it.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tidelock_model::error::Fault;
use tidelock_model::network::{NetworkEffect, Object, ObjectName};
use tidelock_target::{Namespace, Network};

static NEXT: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Space {
    pub(crate) name: String,
    pub(crate) network: Network,
}

impl Space {
    pub(crate) fn new() -> Self {
        let name = format!("tlt{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(&["netns", "add", &name]);
        let network = Network::new(Namespace::named(&name).unwrap());
        Self { name, network }
    }

    /// With links of these names: bridges, which every kernel here has.
    pub(crate) fn with_links(links: &[&str]) -> Self {
        let space = Self::new();
        for link in links {
            space.ip(&["link", "add", link, "type", "bridge"]);
            space.ip(&["link", "set", link, "up"]);
        }
        space
    }

    /// Another one under the same name.
    pub(crate) fn anew(&self) {
        run(&["netns", "delete", &self.name]);
        run(&["netns", "add", &self.name]);
    }

    pub(crate) fn ip(&self, words: &[&str]) -> String {
        run(&[&["-n", &self.name], words].concat())
    }

    /// Runs a program in there.
    pub(crate) fn inside(&self, words: &[&str]) -> String {
        run(&[&["netns", "exec", &self.name], words].concat())
    }

    pub(crate) fn see(&self, name: &str) -> Option<Object> {
        self.network.look(&[name.parse().unwrap()]).remove(0).unwrap()
    }

    pub(crate) fn put(&self, object: serde_json::Value) -> Result<(), Fault> {
        let object: Object = serde_json::from_value(object).unwrap();
        self.network.perform(&NetworkEffect::Put { object }, None)
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), Fault> {
        let object: ObjectName = name.parse().unwrap();
        self.network.perform(&NetworkEffect::Remove { object }, None)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

fn run(words: &[&str]) -> String {
    let out = Command::new("ip").args(words).output().unwrap();
    assert!(out.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}
