//! `network.rule`: which routing table is asked for which packets.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tidelock_sdk::effect::network::{put_rule, remove_object};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::{Action, Change, Diagnostic, Error, Field, Kind, Machine, Observation, Proposals, Step, Subject};

use crate::kept::{self, Persist};
use crate::route::TableNumber;
use crate::see;
use crate::spelling::{bad, prefix, split};

/// What a `network.rule` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// 4 for rules of IPv4, 6 for those of IPv6.
    #[serde(deserialize_with = "family")]
    #[schemars(extend("enum" = [4, 6]))]
    pub(crate) family: u8,
    /// Its place: rules are asked from the lowest on, one of a family at each.
    pub(crate) priority: u32,
    /// Packets from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// Packets to there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    /// Packets that came in on this link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iif: Option<String>,
    /// Packets of sockets that are bound to this link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oif: Option<String>,
    /// Packets with this mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mark: Option<u32>,
    /// `table` (the default), `blackhole`, `unreachable` or `prohibit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<String>,
    /// The table to ask: `main`, or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) table: Option<TableNumber>,
    /// `false`: not kept for the next start of the system, though the target's network is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) persist: Option<Persist>,
}

/// Whatever else somebody may write, such as `ipv4`, is told what it can be.
fn family<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Number(number) if number.as_u64() == Some(4) => Ok(4),
        Value::Number(number) if number.as_u64() == Some(6) => Ok(6),
        other => Err(serde::de::Error::custom(format!("{other} is no family: 4 or 6, without quotes"))),
    }
}

/// `network.rule`.
pub struct Rule;

impl Kind for Rule {
    type Spec = RuleSpec;
    const NAME: &'static str = "rule";
    const DOC: &'static str = "A rule of which routing table is asked. Its priority is its identity; what stands at \
        others is left alone.";

    fn fields() -> Vec<Field> {
        ["/family", "/priority"].map(|field| Field::new(field).immutable()).into()
    }

    fn identity(spec: &RuleSpec) -> String {
        format!("rule:{}/{}", spec.family, spec.priority)
    }

    fn check(spec: &RuleSpec) -> Vec<Diagnostic> {
        let mut remarks = Vec::new();
        let mut wrong = |field: &str, why: String| remarks.push(Diagnostic::error(why).at(field));
        for (field, text) in [("/from", &spec.from), ("/to", &spec.to)] {
            match text.as_ref().map(|text| split(text)) {
                Some(Err(why)) => wrong(field, why),
                Some(Ok((address, _))) if address.is_ipv4() != (spec.family == 4) => {
                    wrong(field, format!("{address} is not of family {}", spec.family));
                }
                _ => {}
            }
        }
        if spec.mark == Some(0) {
            let why = "0 is what packets without a mark have, and the kernel takes it for any; leave `mark` out";
            wrong("/mark", why.to_owned());
        }
        if let Some(TableNumber(0)) = spec.table {
            wrong("/table", "0 is no routing table: `main` is 254".to_owned());
        }
        match (spec.action.as_deref().unwrap_or("table"), spec.table) {
            ("table", None) => wrong("/table", "which table is to be asked?".to_owned()),
            ("table", Some(_)) | ("blackhole" | "unreachable" | "prohibit", None) => {}
            ("blackhole" | "unreachable" | "prohibit", Some(_)) => {
                wrong("/table", "such a rule asks no table".to_owned());
            }
            (other, _) => {
                wrong("/action", format!("{other:?} is no action: table, blackhole, unreachable or prohibit"));
            }
        }
        remarks
    }

    fn normalise(spec: RuleSpec, machine: &Machine<'_>) -> Result<RuleSpec, Error> {
        let network = |field: &str, text: Option<&String>| {
            let network = text.map(|text| prefix(text, false)).transpose().map_err(|why| bad(field, why))?;
            // Everybody is what the kernel takes nothing said for.
            Ok::<_, Error>(network.filter(|network| !network.ends_with("/0")))
        };
        let spec = RuleSpec {
            from: network("/from", spec.from.as_ref())?,
            to: network("/to", spec.to.as_ref())?,
            action: Some(spec.action.unwrap_or_else(|| "table".to_owned())),
            ..spec
        };
        let persist = kept::normalise(spec.persist.clone(), machine, |keeper| keeper.rule(&spec))?;
        Ok(RuleSpec { persist, ..spec })
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        see::objects(subjects, machine, &["family", "priority"])
    }

    fn steps(change: &Change<RuleSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        match change.action {
            _ if !kept::live_differs(change) => {}
            Action::Delete => propose.add(remove_object(&change.identity))?,
            _ => propose.add(put_rule(&RuleSpec { persist: None, ..change.wanted()?.clone() }))?,
        }
        let persist = change.desired.as_ref().and_then(|spec| spec.persist.as_ref());
        kept::steps(change, persist, None, machine, propose)?;
        Ok(Step::Proposed)
    }
}
