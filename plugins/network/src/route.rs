//! `network.route`: a route, marked as ours by the number of its routing protocol.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize};
use tidelock_sdk::effect::network::{put_route, remove_object};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::{Action, Change, Diagnostic, Error, Field, Kind, Machine, Observation, Proposals, Step, Subject};

use crate::kept::{self, Persist};
use crate::spelling::{MAIN, bad, no_table, prefix, reached_through, reaches, split};
use crate::{link, see};

/// The number of a routing table; `main` in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(with = "TableName")]
pub(crate) struct TableNumber(pub(crate) u32);

/// A table as it may be written.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(untagged)]
enum TableName {
    /// Its number.
    Number(u32),
    /// `main`.
    Word(String),
}

impl<'de> Deserialize<'de> for TableNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match TableName::deserialize(deserializer)? {
            TableName::Number(number) => Ok(Self(number)),
            TableName::Word(word) if word == "main" => Ok(Self(MAIN)),
            TableName::Word(word) => {
                Err(serde::de::Error::custom(format!("{word:?} is no table: `main`, or a number")))
            }
        }
    }
}

/// What a `network.route` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// The routing table: `main`, or a number. Default `main`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) table: Option<TableNumber>,
    /// Where to: `10.1.0.0/16`, `2001:db8::/32`. All is `0.0.0.0/0` or `::/0`.
    pub(crate) to: String,
    /// Which of several is chosen: the lowest. Default 0, and 1024 for IPv6, as the kernel has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metric: Option<u32>,
    /// `unicast` (the default), `blackhole`, `unreachable` or `prohibit`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    /// The next hop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) via: Option<String>,
    /// The link; needed where there is no next hop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dev: Option<String>,
    /// Several next hops, among which packets are divided; instead of `via` and `dev`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hops: Vec<Hop>,
    /// The links that hops with an address are kept with, by address. Not written by people.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(skip)]
    pub(crate) links: BTreeMap<String, String>,
    /// The address that packets of the machine's own have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) src: Option<String>,
    /// `false`: not kept for the next start of the system, though the target's network is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) persist: Option<Persist>,
}

/// One of several next hops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hop {
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) via: Option<String>,
    /// The link: where there is no address, or one of the link alone (`fe80::1`). Else the kernel finds it, and it
    /// is said where the route is kept for the next start, since the system's files need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dev: Option<String>,
    /// Its share of the packets, 1 to 256.
    #[serde(default = "one")]
    pub(crate) weight: u16,
}

fn one() -> u16 {
    1
}

impl Hop {
    fn address(&self) -> Option<IpAddr> {
        self.via.as_ref()?.parse().ok()
    }

    /// Whether its address means something on its link alone.
    fn is_of_link(&self) -> bool {
        matches!(self.address(), Some(IpAddr::V6(via)) if via.is_unicast_link_local())
    }

    /// Why it is none.
    fn wrong(&self) -> Option<&'static str> {
        match (&self.via, &self.dev) {
            (Some(_), _) if self.address().is_none() => Some("`via` is no address"),
            (None, None) => Some("a hop needs `via` or `dev`"),
            (Some(_), None) if self.is_of_link() => Some("an address of a link alone needs its `dev`"),
            _ if !(1..=256).contains(&self.weight) => Some("a weight is 1 to 256"),
            _ => None,
        }
    }
}

impl RouteSpec {
    /// The hops, each with the link that was said of it.
    pub(crate) fn linked_hops(&self) -> Vec<Hop> {
        let link = |hop: &Hop| hop.dev.as_ref().or_else(|| self.links.get(hop.via.as_ref()?)).cloned();
        self.hops.iter().map(|hop| Hop { dev: link(hop), ..hop.clone() }).collect()
    }

    fn is_v6(&self) -> bool {
        self.to.contains(':')
    }

    /// The kernel takes 0 for its own choice.
    fn metric(&self) -> u32 {
        match (self.metric, self.is_v6()) {
            (None | Some(0), true) => 1024,
            (metric, _) => metric.unwrap_or(0),
        }
    }
}

/// `network.route`.
pub struct Route;

impl Kind for Route {
    type Spec = RouteSpec;
    const NAME: &'static str = "route";
    const DOC: &'static str = "A route. It is replaced in one operation, and marked as Tidelock's by the protocol 201; \
        routes of routing daemons and of the kernel are never touched.";

    fn fields() -> Vec<Field> {
        let mut fields: Vec<Field> = ["/table", "/to", "/metric"].map(|field| Field::new(field).immutable()).into();
        fields.push(Field::new("/links").how());
        fields
    }

    fn identity(spec: &RouteSpec) -> String {
        let table = spec.table.map_or(MAIN, |table| table.0);
        let table = if table == MAIN { "main".to_owned() } else { table.to_string() };
        let to = prefix(&spec.to, false).unwrap_or_else(|_| spec.to.clone());
        let usual = if spec.is_v6() { 1024 } else { 0 };
        match spec.metric() {
            metric if metric == usual => format!("route:{table}/{to}"),
            metric => format!("route:{table}/{to}+{metric}"),
        }
    }

    fn provides(spec: &RouteSpec) -> Vec<String> {
        // Through a direct route others reach their next hop.
        match (&spec.via, split(&spec.to)) {
            (None, Ok((address, length))) if spec.dev.is_some() && length > 0 => vec![reaches(address, length)],
            _ => Vec::new(),
        }
    }

    fn requires(spec: &RouteSpec) -> Vec<String> {
        let mut needed: Vec<String> = spec.dev.iter().map(|dev| link::identity(dev)).collect();
        needed.extend(spec.src.iter().map(|src| format!("host:{src}")));
        needed.extend(spec.hops.iter().filter_map(|hop| hop.dev.as_deref()).map(link::identity));
        let vias = spec.via.iter().filter_map(|via| via.parse::<IpAddr>().ok());
        for via in vias.chain(spec.hops.iter().filter_map(Hop::address)) {
            needed.extend(reached_through(via));
        }
        needed
    }

    fn check(spec: &RouteSpec) -> Vec<Diagnostic> {
        let mut remarks = Vec::new();
        let mut wrong = |field: &str, why: String| remarks.push(Diagnostic::error(why).at(field));
        match split(&spec.to) {
            Err(why) => wrong("/to", why),
            Ok(_) if prefix(&spec.to, false) != prefix(&spec.to, true) => {
                let network = prefix(&spec.to, false).unwrap_or_default();
                wrong("/to", format!("{} has bits beyond its length; its network is {network}", spec.to));
            }
            Ok(_) => {}
        }
        if let Some(why) = spec.table.and_then(|table| no_table(table.0)) {
            wrong("/table", why);
        }
        for (field, address) in [("/via", &spec.via), ("/src", &spec.src)] {
            if address.as_ref().is_some_and(|address| address.parse::<IpAddr>().is_err()) {
                wrong(field, "this is no address".to_owned());
            }
        }
        for (i, hop) in spec.hops.iter().enumerate() {
            if let Some(why) = hop.wrong() {
                wrong(&format!("/hops/{i}"), why.to_owned());
            }
            let same = |other: &&Hop| !hop.is_of_link() && hop.via.is_some() && other.address() == hop.address();
            if let Some(other) = spec.hops[..i].iter().find(same) {
                wrong(&format!("/hops/{i}"), format!("{} is a hop already", other.via.as_deref().unwrap_or_default()));
            }
        }
        if !spec.hops.is_empty() && (spec.via.is_some() || spec.dev.is_some()) {
            wrong("/hops", "`hops` stands instead of `via` and `dev`".to_owned());
        }
        match spec.kind.as_deref().unwrap_or("unicast") {
            "unicast" if !spec.hops.is_empty() => {}
            "unicast" if spec.via.is_none() && spec.dev.is_none() => {
                wrong("/via", "a route needs `via` or `dev`, or another `type`".to_owned());
            }
            "unicast" => {}
            "blackhole" | "unreachable" | "prohibit"
                if spec.via.is_some() || spec.dev.is_some() || !spec.hops.is_empty() =>
            {
                wrong("/type", "such a route leads nowhere: it has no `via`, `dev` and `hops`".to_owned());
            }
            "blackhole" | "unreachable" | "prohibit" => {}
            other => wrong("/type", format!("{other:?} is no type: unicast, blackhole, unreachable or prohibit")),
        }
        remarks
    }

    fn normalise(mut spec: RouteSpec, machine: &Machine<'_>) -> Result<RouteSpec, Error> {
        // Several of which there is one.
        if let [hop] = &spec.hops[..] {
            (spec.via, spec.dev) = (hop.via.clone(), hop.dev.clone());
            spec.hops.clear();
        }
        let address = |field: &str, text: Option<&String>| -> Result<Option<String>, Error> {
            let parsed = text.map(|text| text.parse::<IpAddr>().map(|address| address.to_string())).transpose();
            parsed.map_err(|_| bad(field, "this is no address".to_owned()))
        };
        let (mut hops, mut links) = (spec.hops.clone(), spec.links.clone());
        for hop in &mut hops {
            hop.via = address("/hops", hop.via.as_ref())?;
            // What is live follows from the address: the link is for the files alone.
            if let Some(via) = hop.via.clone().filter(|_| !hop.is_of_link()) {
                links.extend(hop.dev.take().map(|dev| (via, dev)));
            }
        }
        // As the host has them: by address, then by link.
        hops.sort_by(|a, b| (a.address(), &a.dev, a.weight).cmp(&(b.address(), &b.dev, b.weight)));
        let spec = RouteSpec {
            table: Some(spec.table.unwrap_or(TableNumber(MAIN))),
            to: prefix(&spec.to, false).map_err(|why| bad("/to", why))?,
            metric: Some(spec.metric()),
            kind: Some(spec.kind.clone().unwrap_or_else(|| "unicast".to_owned())),
            via: address("/via", spec.via.as_ref())?,
            dev: spec.dev.clone(),
            hops,
            links,
            src: address("/src", spec.src.as_ref())?,
            persist: spec.persist.clone(),
        };
        let identity = Self::identity(&spec);
        let persist = kept::normalise(spec.persist.clone(), machine, |keeper| keeper.route(&identity, &spec))?;
        Ok(RouteSpec { persist, ..spec })
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        see::objects(subjects, machine, &["table", "to", "metric"])
    }

    fn steps(change: &Change<RouteSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        match change.action {
            _ if !kept::live_differs(change) => {}
            Action::Delete => propose.add(remove_object(&change.identity))?,
            // Of one name: the kernel puts the new one in place of the old one.
            _ => {
                let spec = RouteSpec { links: BTreeMap::new(), persist: None, ..change.wanted()?.clone() };
                propose.add(put_route(&spec))?;
            }
        }
        let persist = change.desired.as_ref().and_then(|spec| spec.persist.as_ref());
        kept::steps(change, persist, None, machine, propose)?;
        Ok(Step::Proposed)
    }
}
