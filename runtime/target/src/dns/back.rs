//! Taking updates back: what a guard does of names. It runs where we run, since a DNS server
//! keeps no process of ours; what it needs of the server is an answer to another update.
//!
//! The prerequisites of that update are what was put: what somebody else changed since is theirs,
//! and stays.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidelock_model::config::{DnsDecl, Given, Hosts};
use tidelock_model::dns::{DnsEffect, Rrset, RrsetName};
use tidelock_model::effect::{Effect, EffectBody};
use tidelock_model::error::Fault;
use tidelock_model::name::{Identity, Name};
use tidelock_model::port::Until;
use tidelock_model::run::EffectEnd;
use tidelock_model::secret::SecretValue;

use super::update::{self, Job, Part};
use super::{DnsOptions, DnsServer, Found, look};
use crate::network::Stuck;
use crate::right::Right;

/// How long a server that does not answer is tried again: less than who called the guard waits.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// What takes updates of one server back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Names {
    target: Name,
    decl: DnsDecl,
    /// What goes back together, as one update: sets of one name, which may change places with an
    /// alias. The last that was done first.
    back: Vec<Vec<Back>>,
}

/// One effect, taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Back {
    effect: DnsEffect,
    /// Whose it is.
    #[serde(default)]
    identity: Option<Identity>,
    /// What the effect that it takes back left there.
    left: Option<Rrset>,
}

impl Back {
    /// What takes an effect back; `None` where it changes nothing.
    fn of(effect: &Effect) -> Option<Self> {
        let (EffectBody::Dns(body), Some(EffectBody::Dns(inverse))) = (&effect.body, effect.inverse.as_deref()) else {
            return None;
        };
        let left = match body {
            DnsEffect::PutRecords { set, .. } => Some(set.clone()),
            DnsEffect::RemoveRecords { .. } => None,
        };
        Some(Self { effect: inverse.clone(), identity: Some(effect.identity.clone()), left })
    }

    fn rrset(&self) -> &RrsetName {
        self.effect.rrset()
    }

    /// What is there once it is done.
    fn before(&self) -> Option<&Rrset> {
        match &self.effect {
            DnsEffect::PutRecords { set, .. } => Some(set),
            DnsEffect::RemoveRecords { .. } => None,
        }
    }
}

impl Names {
    /// `host` is where the server is: a guard has no config, and nothing of our environment.
    pub(super) fn of(target: &Name, decl: &DnsDecl, host: String, effects: &[Effect]) -> Self {
        let mut back: Vec<Vec<Back>> = Vec::new();
        for one in effects.iter().rev().filter_map(Back::of) {
            let beside =
                |other: &Back| (&other.rrset().zone, &other.rrset().name) == (&one.rrset().zone, &one.rrset().name);
            match back.iter_mut().find(|together| together.iter().any(beside)) {
                Some(together) => together.push(one),
                None => back.push(vec![one]),
            }
        }
        let decl = DnsDecl { host: Hosts::One(Given::Literal(host)), ..decl.clone() };
        Self { target: target.clone(), decl, back }
    }

    /// The server, for a process that has no config. It is handed the key, and reads none.
    ///
    /// # Errors
    /// As [`DnsServer::new`].
    pub(crate) fn server(&self, key: SecretValue) -> Result<DnsServer, Fault> {
        let options = DnsOptions { key: Some(key), ..DnsOptions::default() };
        DnsServer::new(&self.target, self.decl.clone(), vec![], options)
    }

    /// Takes everything back; what could not be is said. Blocking, and in no task: it makes the
    /// threads that it needs.
    pub(crate) fn take_back(&self, server: &DnsServer) -> Stuck {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let mut stuck = Stuck::default();
                stuck.add(&self.back.iter().collect::<Vec<_>>(), format!("nothing can be sent: {error}"));
                return stuck;
            }
        };
        runtime.block_on(self.send(server))
    }

    async fn send(&self, server: &DnsServer) -> Stuck {
        let ends = Instant::now() + PATIENCE;
        let mut troubles = Stuck::default();
        let mut open: Vec<&Vec<Back>> = self.back.iter().collect();
        loop {
            let again = try_once(server, open, &mut troubles).await;
            if again.is_empty() || Instant::now() >= ends {
                for (together, why) in again {
                    troubles.add(&[together], why);
                }
                return troubles;
            }
            open = again.into_iter().map(|(together, _)| together).collect();
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Stuck {
    fn add(&mut self, of: &[&Vec<Back>], why: String) {
        self.troubles.push(why);
        self.left.extend(of.iter().flat_map(|together| together.iter()).filter_map(|one| one.identity.clone()));
    }
}

/// Tries once. Gives what may go better another time, and why it did not now; what stays as it is
/// goes to `troubles`.
async fn try_once<'b>(
    server: &DnsServer,
    open: Vec<&'b Vec<Back>>,
    troubles: &mut Stuck,
) -> Vec<(&'b Vec<Back>, String)> {
    let jobs = open.iter().map(|together| {
        let parts: Vec<Part<'_>> = together.iter().map(|one| (&one.effect, one.left.as_ref())).collect();
        Job::new(&parts, together[0].rrset().to_string())
    });
    let (jobs, lease) = (jobs.collect(), Until::at(u64::MAX));
    let (right, _waiting) = Right::under(&lease);
    let ends = update::all(&server.inner, jobs, &right).await;
    let bad =
        |ends: Vec<EffectEnd>| ends.into_iter().find(|end| !matches!(end, EffectEnd::Done | EffectEnd::NotReached));
    let failed: Vec<(&Vec<Back>, EffectEnd)> =
        open.into_iter().zip(ends).filter_map(|(together, ends)| Some((together, bad(ends)?))).collect();
    if failed.is_empty() {
        return vec![];
    }
    let names: Vec<RrsetName> =
        failed.iter().flat_map(|(together, _)| together.iter().map(|one| one.rrset().clone())).collect();
    let mut found = look::look(&server.inner, &names).await.into_iter();
    let mut again = Vec::new();
    for (together, end) in failed {
        let now: Vec<Result<Found, Fault>> = found.by_ref().take(together.len()).collect();
        let is_back =
            |(one, now): (&Back, &Result<Found, Fault>)| now.as_ref().is_ok_and(|now| now.set.as_ref() == one.before());
        // It was never done, or the answer to its end was lost.
        if together.iter().zip(&now).all(is_back) {
            continue;
        }
        match end {
            EffectEnd::Failed { fault } if fault.code == "changed" => {
                troubles.add(&[together], format!("{} is not as it was put, and is left so", together[0].rrset()));
            }
            EffectEnd::Failed { fault } if !fault.retryable => troubles.add(&[together], fault.message),
            EffectEnd::Failed { fault } => again.push((together, fault.message)),
            EffectEnd::Unknown { why } => again.push((together, why)),
            EffectEnd::Done | EffectEnd::NotReached => {}
        }
    }
    again
}

#[cfg(test)]
mod tests {
    use tidelock_model::dns::RecordType;
    use tidelock_model::effect::{AfterCrash, Precondition};
    use tidelock_model::name::Identity;

    use super::*;

    fn set(name: &str, kind: RecordType, value: &str) -> Rrset {
        let (zone, values) = ("example.com.".to_owned(), vec![value.to_owned()]);
        Rrset { zone, name: format!("{name}.example.com."), kind, ttl: 300, values }
    }

    fn effect(body: DnsEffect, before: Option<Rrset>) -> Effect {
        let precondition = Precondition::Records { rrset: body.rrset().clone(), records: before };
        let body = EffectBody::Dns(body);
        Effect {
            resource: "network.dns-record/x".parse().unwrap(),
            identity: Identity::new("x"),
            plugin: "network".into(),
            inverse: body.inverse(&precondition).map(Box::new),
            body,
            precondition: Some(precondition),
            after_crash: AfterCrash::Observe,
            together: None,
            inside: vec![],
        }
    }

    #[test]
    fn what_changed_places_goes_back_together_and_the_last_first() {
        let (a, alias) = (set("www", RecordType::A, "192.0.2.1"), set("www", RecordType::Cname, "web.example.com."));
        let other = set("mail", RecordType::A, "192.0.2.9");
        let effects = [
            effect(DnsEffect::RemoveRecords { rrset: a.called().unwrap() }, Some(a.clone())),
            effect(DnsEffect::put(other.clone()).unwrap(), None),
            effect(DnsEffect::put(alias.clone()).unwrap(), None),
            effect(DnsEffect::RemoveRecords { rrset: set("gone", RecordType::A, "x").called().unwrap() }, None),
        ];
        let names = Names::of(&"ns".parse().unwrap(), &DnsDecl::default(), "192.0.2.53".into(), &effects);
        let words: Vec<Vec<String>> =
            names.back.iter().map(|together| together.iter().map(|one| one.effect.summary()).collect()).collect();
        assert_eq!(
            words,
            [
                vec!["remove www.example.com. CNAME".to_owned(), "put www.example.com. 300 A 192.0.2.1".to_owned()],
                vec!["remove mail.example.com. A".to_owned()],
            ]
        );
        assert_eq!(names.back[0][0].left, Some(alias));
        assert_eq!((&names.back[0][1].left, names.back[0][1].before()), (&None, Some(&a)));
        let text = serde_json::to_string(&names).unwrap();
        assert_eq!(serde_json::from_str::<Names>(&text).unwrap(), names);
    }
}
