//! `network.nftables`: a whole table of nftables, from nft's own language.

use serde::{Deserialize, Serialize};
use tidelock_sdk::effect::network::{remove_table, replace_table};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::{
    Action, Change, Diagnostic, Error, Field, Kind, Machine, Observation, Proposals, Seen, Step, Subject,
};

/// What a `network.nftables` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NftablesSpec {
    /// `inet` (the default), `ip`, `ip6`, `arp`, `bridge` or `netdev`.
    #[serde(default = "inet")]
    family: String,
    /// The table's name.
    name: String,
    /// All of the table in nft's language, as text or `$file`: `table inet filter { ... }`. No
    /// other table, no `include`, no elements that run out.
    ruleset: String,
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

    fn check(spec: &NftablesSpec) -> Vec<Diagnostic> {
        if matches!(spec.family.as_str(), "inet" | "ip" | "ip6" | "arp" | "bridge" | "netdev") {
            return Vec::new();
        }
        let why = format!("{:?} is no family: inet, ip, ip6, arp, bridge or netdev", spec.family);
        vec![Diagnostic::error(why).at("/family")]
    }

    fn normalise(spec: NftablesSpec, machine: &Machine<'_>) -> Result<NftablesSpec, Error> {
        let ruleset = machine.network().normalise_table(&Self::identity(&spec), &spec.ruleset)?;
        Ok(NftablesSpec { ruleset, ..spec })
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        let identities: Vec<String> = subjects.iter().map(|subject| subject.identity.clone()).collect();
        let seen = machine.network().tables(&identities)?;
        let each = |(identity, seen): (&String, Seen)| match seen {
            Seen::Found { state, seen } => {
                let named = identity.strip_prefix("nftables:").and_then(|rest| rest.split_once('/'));
                let (Some((family, name)), Some(ruleset)) = (named, state.as_str()) else {
                    return Observation::Failed(Error::plugin(format!("{identity} is no table")));
                };
                let spec = NftablesSpec { family: family.into(), name: name.into(), ruleset: ruleset.into() };
                Observation::present(spec, [seen])
            }
            Seen::Absent(seen) => Observation::absent([seen]),
            Seen::Failed(error) => Observation::Failed(error),
        };
        Ok(identities.iter().zip(seen).map(each).collect())
    }

    fn steps(change: &Change<NftablesSpec>, _machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        match change.action {
            Action::Delete => propose.add(remove_table(&change.identity))?,
            _ => propose.add(replace_table(&change.identity, &change.wanted()?.ruleset))?,
        }
        Ok(Step::Proposed)
    }
}
