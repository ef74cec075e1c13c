//! `network.sysctl`: a setting of the kernel's network.

use serde::{Deserialize, Serialize};
use tidelock_sdk::effect::network::set_sysctl;
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::{Action, Change, Diagnostic, Error, Field, Kind, Machine, Observation, Proposals, Step, Subject};

use crate::kept::{self, Persist};
use crate::see;

/// What a `network.sysctl` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SysctlSpec {
    /// Its name: `net.ipv4.ip_forward`. A dot within a part is written as a slash.
    pub(crate) name: String,
    /// Its value, as text: `"1"`. Several are separated by one space.
    pub(crate) value: String,
    /// `false`: not kept for the next start of the system, though the target's network is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) persist: Option<Persist>,
}

/// A number as the kernel prints it: it reads `010` as 8 and `0x10` as 16.
fn number(word: &str) -> String {
    let (digits, radix) = match word.strip_prefix("0x") {
        Some(hex) => (hex, 16),
        None => (word, 8),
    };
    let octal_or_hex = word.len() > 1 && word.starts_with('0');
    match u64::from_str_radix(digits, radix) {
        Ok(number) if octal_or_hex => number.to_string(),
        _ => word.to_owned(),
    }
}

/// `network.sysctl`.
pub struct Sysctl;

impl Kind for Sysctl {
    type Spec = SysctlSpec;
    const NAME: &'static str = "sysctl";
    const DOC: &'static str = "A setting of the kernel's network. It is as it is now until the next start, and after that \
        too where the target keeps its network.";
    // The kernel's value before is not Git's to know, so one is let go and stays as it is.
    const HOLDS_DATA: bool = true;

    fn fields() -> Vec<Field> {
        vec![Field::new("/name").immutable()]
    }

    fn identity(spec: &SysctlSpec) -> String {
        format!("sysctl:{}", spec.name)
    }

    fn requires(spec: &SysctlSpec) -> Vec<String> {
        // Those of a link come with it: net.ipv4.conf.eth0.rp_filter.
        let parts: Vec<&str> = spec.name.split('.').collect();
        match parts[..] {
            ["net", "ipv4" | "ipv6", "conf" | "neigh", link, ..] => {
                vec![crate::link::identity(&link.replace('/', "."))]
            }
            _ => Vec::new(),
        }
    }

    fn check(spec: &SysctlSpec) -> Vec<Diagnostic> {
        let mut remarks = Vec::new();
        if !spec.name.starts_with("net.") {
            remarks.push(Diagnostic::error("settings of the network begin with `net.`").at("/name"));
        }
        if spec.value.trim().is_empty() {
            remarks.push(Diagnostic::error("a setting needs a value").at("/value"));
        }
        remarks
    }

    fn normalise(spec: SysctlSpec, machine: &Machine<'_>) -> Result<SysctlSpec, Error> {
        let value = spec.value.split_whitespace().map(number).collect::<Vec<_>>().join(" ");
        let spec = SysctlSpec { value, ..spec };
        let persist = kept::normalise(spec.persist.clone(), machine, |_| kept::sysctl(&spec.name, &spec.value))?;
        Ok(SysctlSpec { persist, ..spec })
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        see::objects(subjects, machine, &["name"])
    }

    fn steps(change: &Change<SysctlSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        if change.action == Action::Delete {
            let why = "a setting of the kernel cannot be removed; let go of it with `on_remove: release`";
            return Ok(Step::Refused(Error::target("invalid", why)));
        }
        let spec = change.wanted()?;
        if kept::live_differs(change) {
            propose.add(set_sysctl(&SysctlSpec { persist: None, ..spec.clone() }))?;
        }
        kept::steps(change, spec.persist.as_ref(), None, machine, propose)?;
        Ok(Step::Proposed)
    }
}
