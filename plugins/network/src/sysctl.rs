//! `network.sysctl`: a setting of the kernel's network.

use serde::{Deserialize, Serialize};
use tidelock_sdk::effect::network::set_sysctl;
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::{Action, Change, Diagnostic, Error, Field, Kind, Machine, Observation, Proposals, Step, Subject};

use crate::see;

/// What a `network.sysctl` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SysctlSpec {
    /// Its name: `net.ipv4.ip_forward`. A dot within a part is written as a slash.
    name: String,
    /// Its value, as text: `"1"`. Several are separated by one space.
    value: String,
}

/// `network.sysctl`.
pub struct Sysctl;

impl Kind for Sysctl {
    type Spec = SysctlSpec;
    const NAME: &'static str = "sysctl";
    const DOC: &'static str = "A setting of the kernel's network, as it is now. To have it after the next start too, put a \
        `server.file` below /etc/sysctl.d beside it.";
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
        if spec.name.starts_with("net.") {
            return Vec::new();
        }
        vec![Diagnostic::error("settings of the network begin with `net.`").at("/name")]
    }

    fn normalise(spec: SysctlSpec, _machine: &Machine<'_>) -> Result<SysctlSpec, Error> {
        let value = spec.value.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(SysctlSpec { value, ..spec })
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        see::objects(subjects, machine, &["name"])
    }

    fn steps(change: &Change<SysctlSpec>, _machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        if change.action == Action::Delete {
            let why = "a setting of the kernel cannot be removed; let go of it with `on_remove: release`";
            return Ok(Step::Refused(Error::target("invalid", why)));
        }
        propose.add(set_sysctl(change.wanted()?))?;
        Ok(Step::Proposed)
    }
}
