//! `network.nftables`: a whole table of nftables, from nft's own language.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tidelock_sdk::effect::network::{remove_table, replace_table};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::serde_json::{Value, json};
use tidelock_sdk::{
    Action, Change, Diagnostic, Error, Field, Kind, Machine, Observation, Proposals, Seen, Step, Subject,
};

use crate::kept::{self, Persist};
use crate::{link, see};

/// What a `network.nftables` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NftablesSpec {
    /// `inet` (the default), `ip`, `ip6`, `arp`, `bridge` or `netdev`.
    #[serde(default = "inet")]
    pub(crate) family: String,
    /// The table's name.
    pub(crate) name: String,
    /// All of the table in nft's language, as text or `$file`: `table inet filter { ... }`. No
    /// other table, no `include`, no elements that run out.
    pub(crate) ruleset: String,
    /// `false`: not kept for the next start of the system, though the target's network is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) persist: Option<Persist>,
}

fn inet() -> String {
    "inet".to_owned()
}

/// `network.nftables`.
pub struct Nftables;

impl Kind for Nftables {
    type Spec = NftablesSpec;
    const NAME: &'static str = "nftables";
    const DOC: &'static str = "A whole table of nftables. It is replaced in one transaction of the kernel; other tables are \
        left alone, and so are elements with a timeout and those that packets add to dynamic sets. Counters are no \
        difference.";

    fn fields() -> Vec<Field> {
        vec![Field::new("/family").immutable(), Field::new("/name").immutable(), Field::new("/ruleset").text()]
    }

    fn identity(spec: &NftablesSpec) -> String {
        format!("nftables:{}/{}", spec.family, spec.name)
    }

    fn requires(spec: &NftablesSpec) -> Vec<String> {
        links_of(&spec.ruleset).into_iter().map(link::identity).collect()
    }

    fn check(spec: &NftablesSpec) -> Vec<Diagnostic> {
        if matches!(spec.family.as_str(), "inet" | "ip" | "ip6" | "arp" | "bridge" | "netdev") {
            return Vec::new();
        }
        let why = format!("{:?} is no family: inet, ip, ip6, arp, bridge or netdev", spec.family);
        vec![Diagnostic::error(why).at("/family")]
    }

    fn normalise(spec: NftablesSpec, machine: &Machine<'_>) -> Result<NftablesSpec, Error> {
        let ruleset = machine.network().normalise_table(&Self::identity(&spec), &spec.ruleset)?;
        let spec = NftablesSpec { ruleset, ..spec };
        let files = |_| kept::table(&spec.family, &spec.name, &spec.ruleset);
        let persist = kept::normalise(spec.persist.clone(), machine, files)?;
        Ok(NftablesSpec { persist, ..spec })
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        let identities = see::identities(subjects);
        let seen = machine.network().tables(&identities)?;
        let each = |(subject, seen): (&Subject, Seen)| {
            let seen = match seen {
                Seen::Found { state: Value::String(ruleset), seen } => {
                    let named = subject.identity.strip_prefix("nftables:").and_then(|rest| rest.split_once('/'));
                    let (family, name) = named.unwrap_or_default();
                    Seen::Found { state: json!({ "family": family, "name": name, "ruleset": ruleset }), seen }
                }
                other => other,
            };
            see::observation(subject, seen, &["family", "name", "ruleset"], machine)
        };
        Ok(subjects.iter().zip(seen).map(each).collect())
    }

    fn steps(change: &Change<NftablesSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        match change.action {
            _ if !kept::live_differs(change) => {}
            Action::Delete => propose.add(remove_table(&change.identity))?,
            _ => propose.add(replace_table(&change.identity, &change.wanted()?.ruleset))?,
        }
        let persist = change.desired.as_ref().and_then(|spec| spec.persist.as_ref());
        kept::steps(change, persist, None, machine, propose)?;
        Ok(Step::Proposed)
    }
}

/// The links that a ruleset asks for by their numbers, which are there before it is loaded: `iif lan0`,
/// `oif { lan0, "lan1" }`, `devices = { lan0 }`. Names that are computed (`define`) are not found.
fn links_of(ruleset: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '@' | '+');
    let mut links = BTreeSet::new();
    for line in ruleset.lines() {
        let line = line.split('#').next().unwrap_or_default();
        for asks in ["iif", "oif", "device", "devices"] {
            for (at, _) in line.match_indices(asks) {
                let (before, after) = (&line[..at], &line[at + asks.len()..]);
                if before.ends_with(is_name) || after.starts_with(is_name) {
                    continue;
                }
                let after = after.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '=' | '!'));
                let after = after.strip_prefix("vmap").unwrap_or(after).trim_start();
                let list = after.strip_prefix('{').and_then(|rest| rest.split('}').next());
                let names = list.unwrap_or_else(|| after.split_whitespace().next().unwrap_or_default());
                let plain = names.split(',').filter_map(|part| part.split(':').next());
                let plain = plain.map(|name| name.trim().trim_matches(['"', ';']));
                links.extend(plain.filter(|name| !name.is_empty() && name.chars().all(is_name)));
            }
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_are_asked_for_by_number_are_found() {
        let text = "table inet t { # iif none\n flowtable f { devices = { eth1, \"eth2\" } }\n chain c {\n iif \"lan0\" accept\n \
            oif != lan1 drop; meta iif { a.1, b-2 } accept\n iif vmap { x : accept, y : drop }\n iifname \"no\" accept\n }\n}";
        let links: Vec<&str> = links_of(text).into_iter().collect();
        assert_eq!(links, ["a.1", "b-2", "eth1", "eth2", "lan0", "lan1", "x", "y"]);
        assert!(links_of("iif").is_empty());
    }
}
