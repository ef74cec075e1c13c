//! Performing: a group of effects is one update of its zone, which the server does as a whole or
//! not at all (RFC 2136). What was seen when it was planned goes with it as prerequisites, so
//! that what somebody changed since is not overwritten. Times to live are no part of those: they
//! are asked for in the moment before.
//!
//! Groups that follow each other go together in one update as long as it is small. A server
//! that refuses such a one has done nothing of it, and gets each group by itself.

use std::sync::Arc;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType as WireType};
use tidelock_model::dns::{DnsEffect, RecordType, Rrset, RrsetName};
use tidelock_model::effect::{Effect, EffectBody, Precondition};
use tidelock_model::error::Fault;
use tidelock_model::grant::ungranted;
use tidelock_model::plan::Group;
use tidelock_model::port::Until;
use tidelock_model::run::{EffectEnd, Outcome};

use super::wire::{Session, Trouble, question, refusal};
use super::{DnsServer, Inner, fault, text};
use crate::right::Right;

/// Groups in one update.
const TOGETHER: usize = 64;
/// What the records of one update of several groups may take, in bytes: far below the 64 KiB of
/// a message.
const BYTES: usize = 24 << 10;
/// Questions that are on their way at once: their bytes fit into what a connection holds anywhere.
const QUESTIONS: usize = 64;

/// A group, ready to be sent.
pub(super) struct Job {
    size: usize,
    ready: Result<Update, (usize, Fault)>,
}

impl Job {
    /// Effects that were granted, as one update.
    pub(super) fn new(parts: &[Part<'_>], about: String) -> Self {
        Self { size: parts.len(), ready: compose(parts, about) }
    }
}

/// What is sent of a group.
#[derive(Clone)]
struct Update {
    zone: String,
    /// What the first effect is about, for errors.
    about: String,
    prerequisites: Vec<Record>,
    /// Sets that were there, with their time to live in seconds.
    ttls: Vec<(RrsetName, u32)>,
    updates: Vec<Record>,
    bytes: usize,
}

/// See [`tidelock_model::port::Target::perform`].
pub(super) async fn perform(server: &DnsServer, run: &str, groups: &[Group], until: &Until) -> Vec<Outcome> {
    let jobs: Vec<Job> = groups
        .iter()
        .map(|group| {
            let effects: Vec<&Effect> = group.effects.iter().map(|planned| &planned.effect).collect();
            Job { size: effects.len(), ready: prepare(&server.inner, &effects) }
        })
        .collect();
    let sizes: Vec<usize> = jobs.iter().map(|job| job.size).collect();
    let (right, _waiting) = Right::under(until);
    let inner = Arc::clone(&server.inner);
    // In a task of its own: what was begun ends, also where nobody waits for it.
    let work = tokio::spawn(async move { all(&inner, jobs, &right).await });
    let ends = work.await.unwrap_or_else(|error| {
        let why = format!("the task that performed it ended early: {error}");
        sizes.iter().map(|size| vec![EffectEnd::Unknown { why: why.clone() }; *size]).collect()
    });
    let outcome =
        |(group, effects): (&Group, _)| Outcome { run: run.to_owned(), group: group.id, effects, lost: vec![] };
    groups.iter().zip(ends).map(outcome).collect()
}

/// Sends jobs in their order. Gives what came of each effect of each.
pub(super) async fn all(server: &Inner, jobs: Vec<Job>, right: &Right) -> Vec<Vec<EffectEnd>> {
    let _one = server.performing.lock().await;
    let mut line = Line { server, session: None };
    let mut ends: Vec<Vec<EffectEnd>> = Vec::with_capacity(jobs.len());
    let mut at = 0;
    while at < jobs.len() {
        let first = match &jobs[at].ready {
            Ok(update) => update,
            Err((effect, fault)) => {
                ends.push(failed_at(jobs[at].size, *effect, fault));
                at += 1;
                continue;
            }
        };
        let together = jobs[at..].iter().take(TOGETHER).map_while(|job| job.ready.as_ref().ok());
        let mut bytes = 0;
        let batch: Vec<&Update> = together
            .take_while(|update| {
                bytes += update.bytes;
                update.zone == first.zone && bytes <= BYTES
            })
            .collect();
        // One that is larger than that goes by itself.
        let batch = if batch.is_empty() { vec![first] } else { batch };
        let sizes: Vec<usize> = jobs[at..at + batch.len()].iter().map(|job| job.size).collect();
        at += batch.len();
        ends.extend(line.send_all(&batch, &sizes, right).await);
    }
    ends
}

/// A connection, opened when it is needed and anew when it broke.
struct Line<'s> {
    server: &'s Inner,
    session: Option<Session>,
}

impl Line<'_> {
    async fn send_all(&mut self, batch: &[&Update], sizes: &[usize], right: &Right) -> Vec<Vec<EffectEnd>> {
        let all = |end: &EffectEnd| sizes.iter().map(|size| ends(*size, end)).collect::<Vec<_>>();
        if right.is_over() {
            return all(&EffectEnd::NotReached);
        }
        match self.send(batch).await {
            Sent::Done => all(&EffectEnd::Done),
            Sent::Unknown(why) => all(&EffectEnd::Unknown { why }),
            // Where nothing of it was sent, nothing of it goes better by itself.
            Sent::Unsent(fault) => all(&EffectEnd::Failed { fault }),
            Sent::Failed(fault) if batch.len() == 1 => all(&EffectEnd::Failed { fault }),
            Sent::Failed(_) => {
                let mut each = Vec::with_capacity(batch.len());
                for (update, size) in batch.iter().zip(sizes) {
                    let end = match right.is_over() {
                        true => EffectEnd::NotReached,
                        false => self.send(&[update]).await.end(),
                    };
                    each.push(ends(*size, &end));
                }
                each
            }
        }
    }

    async fn send(&mut self, batch: &[&Update]) -> Sent {
        let message = match message(batch) {
            Ok(message) => message,
            Err(fault) => return Sent::Failed(fault),
        };
        let session = match &mut self.session {
            Some(session) => session,
            none => match Session::open(self.server).await {
                Ok(session) => none.insert(session),
                Err(fault) => return Sent::Unsent(fault),
            },
        };
        match other_ttl(session, batch).await {
            Ok(None) => {}
            Ok(Some(fault)) => return Sent::Failed(fault),
            Err(trouble) => {
                self.session = None;
                return Sent::Unsent(trouble.fault);
            }
        }
        match session.ask(message).await {
            Ok(answer) => match answer.response_code {
                ResponseCode::NoError => Sent::Done,
                code => Sent::Failed(refused(self.server, batch, code)),
            },
            Err(trouble) => {
                self.session = None;
                if trouble.unknown { Sent::Unknown(trouble.fault.to_string()) } else { Sent::Unsent(trouble.fault) }
            }
        }
    }
}

/// The first set whose time to live is not what it was. Between this question and the update
/// somebody may still change it: RFC 2136 has no prerequisite for that.
async fn other_ttl(session: &mut Session, batch: &[&Update]) -> Result<Option<Fault>, Trouble> {
    let known: Vec<&(RrsetName, u32)> = batch.iter().flat_map(|update| &update.ttls).collect();
    for some in known.chunks(QUESTIONS) {
        let questions: Result<Vec<Message>, Fault> =
            some.iter().map(|(set, _)| question(&set.name, text::wire(set.kind))).collect();
        for ((set, before), answer) in some.iter().zip(session.ask_all(questions?).await?) {
            // What is delegated is told as a referral.
            let told = answer.answers.iter().chain(&answer.authorities);
            let of_set =
                |record: &&Record| record.record_type() == text::wire(set.kind) && text::is(&record.name, &set.name);
            // That it is not there any more is a matter of the prerequisites.
            let Some(now) = told.filter(of_set).map(|record| record.ttl).min() else { continue };
            if now != *before {
                let message = format!(
                    "the time to live of {set} has changed since the plan was made: {before} s, and now {now} s"
                );
                return Ok(Some(fault("changed", message).retryable().hint("plan again")));
            }
        }
    }
    Ok(None)
}

/// What came of one update.
enum Sent {
    Done,
    /// The server did not look at it: it was not reached, or did not take the key.
    Unsent(Fault),
    Failed(Fault),
    Unknown(String),
}

impl Sent {
    fn end(self) -> EffectEnd {
        match self {
            Self::Done => EffectEnd::Done,
            Self::Unsent(fault) | Self::Failed(fault) => EffectEnd::Failed { fault },
            Self::Unknown(why) => EffectEnd::Unknown { why },
        }
    }
}

fn refused(server: &Inner, batch: &[&Update], code: ResponseCode) -> Fault {
    let about = batch.first().map_or("", |update| update.about.as_str());
    let prerequisite = match code {
        ResponseCode::YXDomain => "YXDOMAIN",
        ResponseCode::YXRRSet => "YXRRSET",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NXRRSet => "NXRRSET",
        other => return refusal(&server.whom(), other, true),
    };
    let message =
        format!("what {about} relied on has changed since the plan was made, says the server ({prerequisite})");
    fault("changed", message).retryable().hint("plan again")
}

/// One effect's end is that of its group.
fn ends(size: usize, end: &EffectEnd) -> Vec<EffectEnd> {
    match end {
        EffectEnd::Failed { fault } => failed_at(size, 0, fault),
        other => vec![other.clone(); size],
    }
}

fn failed_at(size: usize, at: usize, fault: &Fault) -> Vec<EffectEnd> {
    (0..size)
        .map(|i| if i == at { EffectEnd::Failed { fault: fault.clone() } } else { EffectEnd::NotReached })
        .collect()
}

/// A group as an update, once each grant said yes again.
fn prepare(server: &Inner, effects: &[&Effect]) -> Result<Update, (usize, Fault)> {
    let mut parts = Vec::with_capacity(effects.len());
    for (i, effect) in effects.iter().enumerate() {
        parts.push(granted(server, effect).map_err(|fault| (i, fault))?);
    }
    compose(&parts, effects.first().map(|effect| effect.identity.to_string()).unwrap_or_default())
}

fn compose(parts: &[Part<'_>], about: String) -> Result<Update, (usize, Fault)> {
    let Some((first, _)) = parts.first() else {
        return Err((0, fault("invalid", "a group without effects")));
    };
    let zone = first.rrset().zone.clone();
    let mut update = Update { zone, about, prerequisites: vec![], ttls: vec![], updates: vec![], bytes: 0 };
    for (i, (effect, before)) in parts.iter().enumerate() {
        if effect.rrset().zone != update.zone {
            return Err((i, fault("invalid", "effects of one group are about several zones")));
        }
        add(&mut update, effect, *before, parts).map_err(|why| (i, fault("invalid", why)))?;
    }
    Ok(update)
}

/// An effect, and what it finds there.
pub(super) type Part<'e> = (&'e DnsEffect, Option<&'e Rrset>);

fn granted<'e>(server: &Inner, effect: &'e Effect) -> Result<Part<'e>, Fault> {
    let EffectBody::Dns(body) = &effect.body else {
        return Err(fault("invalid", format!("`{}` is not for a DNS server", effect.body.summary())));
    };
    let Some(grant) = server.grants.get(&effect.plugin) else {
        let target = server.name.as_str();
        return Err(ungranted(&effect.plugin, target, |nothing| nothing.decide_effect(&effect.body)));
    };
    grant.decide_effect(&effect.body)?;
    server.serves(&body.rrset().zone)?;
    match &effect.precondition {
        Some(Precondition::Records { rrset, records }) if rrset == body.rrset() => Ok((body, records.as_ref())),
        // Without one it could overwrite what nobody looked at.
        _ => Err(fault("invalid", format!("{} rests on no look at what is there", effect.body.summary()))),
    }
}

/// What one effect adds to an update.
fn add(update: &mut Update, effect: &DnsEffect, before: Option<&Rrset>, all: &[Part<'_>]) -> Result<(), String> {
    let rrset = effect.rrset();
    let name = text::host(&rrset.name)?;
    let kind = text::wire(rrset.kind);
    match before {
        // Exactly these values are there (RFC 2136, 2.4.2), their time to live left out of account.
        Some(before) => {
            update.ttls.push((rrset.clone(), before.ttl));
            for value in &before.values {
                update.prerequisites.push(Record::from_rdata(name.clone(), 0, text::read(rrset.kind, value)?));
            }
        }
        None => update.prerequisites.push(empty(&name, DNSClass::NONE, kind)),
    }
    if let DnsEffect::PutRecords { set, .. } = effect {
        // A server passes over what cannot be beside an alias without a word (RFC 2136, 3.4.2.2).
        let goes = |other: &RrsetName| other.name == rrset.name && other != rrset;
        let makes_room = all.iter().any(|(other, _)| other.destructive() && goes(other.rrset()));
        match rrset.kind {
            _ if makes_room => {}
            RecordType::Cname if before.is_none() => {
                update.prerequisites.push(empty(&name, DNSClass::NONE, WireType::ANY));
            }
            RecordType::Cname => {}
            _ => update.prerequisites.push(empty(&name, DNSClass::NONE, WireType::CNAME)),
        }
        if before.is_some() {
            update.updates.push(empty(&name, DNSClass::ANY, kind));
        }
        for value in &set.values {
            update.updates.push(Record::from_rdata(name.clone(), set.ttl, text::read(set.kind, value)?));
        }
    } else {
        update.updates.push(empty(&name, DNSClass::ANY, kind));
    }
    // As texts they are no shorter than on the wire but for names, which are counted anew each time.
    let values = |set: &Rrset| set.values.iter().map(|value| value.len() + name.len() + 16).sum::<usize>();
    let put = if let DnsEffect::PutRecords { set, .. } = effect { values(set) } else { 0 };
    update.bytes += before.map_or(0, values) + put + 3 * (name.len() + 16);
    Ok(())
}

/// A record that stands for a whole set, or for all that a name has.
fn empty(name: &Name, class: DNSClass, kind: WireType) -> Record {
    let mut record = Record::update0(name.clone(), 0, kind);
    record.dns_class = class;
    record
}

fn message(batch: &[&Update]) -> Result<Message, Fault> {
    let zone = batch.first().map_or(".", |update| update.zone.as_str());
    let mut message = question(zone, WireType::SOA)?;
    message.metadata.op_code = OpCode::Update;
    // Removals first: what makes room in a zone is done before what needs it.
    for update in batch {
        message.add_answers(update.prerequisites.iter().cloned());
        message.add_authorities(update.updates.iter().filter(|record| is_removal(record)).cloned());
    }
    for update in batch {
        message.add_authorities(update.updates.iter().filter(|record| !is_removal(record)).cloned());
    }
    Ok(message)
}

fn is_removal(record: &Record) -> bool {
    matches!(record.data, RData::Update0(_))
}

/// Whether an update of a zone is let to this key: one that changes nothing is sent.
pub(super) async fn may_update(server: &Inner, zone: &str) -> Result<(), Fault> {
    let mut message = question(zone, WireType::SOA)?;
    message.metadata.op_code = OpCode::Update;
    let answer = Session::open(server).await?.ask(message).await.map_err(|trouble| trouble.fault)?;
    match answer.response_code {
        ResponseCode::NoError => Ok(()),
        code => Err(refusal(&server.whom(), code, true)),
    }
}
