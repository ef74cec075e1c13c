//! Looking at zones: a transfer where the server lets the key have one, as it is one picture
//! of the zone and knows no wildcards; else a question for each set.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType as WireType};
use tidelock_model::dns::{RecordType, Rrset, RrsetName, labels, spelled};
use tidelock_model::error::Fault;

use super::wire::{Session, Trouble, question, refusal};
use super::{Inner, fault, text};

/// What is there under a name of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The set; `None` for nothing.
    pub set: Option<Rrset>,
    /// Types of other records of the same name that cannot be beside it: all others beside a
    /// `CNAME`, and a `CNAME` beside any other. Those of DNSSEC can.
    pub beside: Vec<String>,
}

/// The records of one type and name, while they are gathered.
#[derive(Debug, Default, Clone)]
struct Gathered {
    ttl: Option<u32>,
    values: BTreeSet<String>,
}

impl Gathered {
    fn add(&mut self, ttl: u32, value: String) {
        // They should be equal; the lowest is what counts (RFC 2181, 5.2).
        self.ttl = Some(self.ttl.map_or(ttl, |old| old.min(ttl)));
        self.values.insert(value);
    }

    fn set(self, name: &RrsetName) -> Option<Rrset> {
        let RrsetName { zone, name, kind } = name.clone();
        Some(Rrset { zone, name, kind, ttl: self.ttl?, values: self.values.into_iter().collect() })
    }
}

/// What is there under each name. Answers are in the order of the question.
pub(super) async fn look(server: &Inner, names: &[RrsetName]) -> Vec<Result<Found, Fault>> {
    let mut by_zone: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, name) in names.iter().enumerate() {
        by_zone.entry(&name.zone).or_default().push(i);
    }
    let mut answers: Vec<Option<Result<Found, Fault>>> = names.iter().map(|_| None).collect();
    for (zone, places) in by_zone {
        let asked: Vec<&RrsetName> = places.iter().map(|place| &names[*place]).collect();
        let found = match in_zone(server, zone, &asked).await {
            Ok(found) => found,
            Err(fault) => asked.iter().map(|_| Err(fault.clone())).collect(),
        };
        for (place, found) in places.into_iter().zip(found) {
            answers[place] = Some(found);
        }
    }
    let missing = || Err(fault("io", "the server gave no answer"));
    answers.into_iter().map(|answer| answer.unwrap_or_else(missing)).collect()
}

async fn in_zone(server: &Inner, zone: &str, names: &[&RrsetName]) -> Result<Vec<Result<Found, Fault>>, Fault> {
    server.serves(zone)?;
    let mut session = Session::open(server).await?;
    if let Some(held) = transfer(server, &mut session, zone, names).await? {
        return Ok(names.iter().map(|name| Ok(held.found(name))).collect());
    }
    // A server that refuses a transfer may end the connection with it.
    drop(session);
    let mut session = Session::open(server).await?;
    let mut asker = Asker { session: &mut session, whom: server.whom(), wildcards: BTreeMap::new() };
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        match asker.ask_about(name).await {
            Ok(one) => found.push(one),
            Err(trouble) => return Err(trouble.fault),
        }
    }
    Ok(found)
}

/// What a zone holds of some names.
#[derive(Debug, Default)]
struct Held {
    sets: BTreeMap<(String, RecordType), Gathered>,
    /// All types at a name, those of DNSSEC left out.
    types: BTreeMap<String, BTreeSet<String>>,
}

impl Held {
    fn found(&self, name: &RrsetName) -> Found {
        let gathered = self.sets.get(&(name.name.clone(), name.kind)).cloned().unwrap_or_default();
        let here = self.types.get(&name.name).cloned().unwrap_or_default();
        Found { set: gathered.set(name), beside: conflicts(name.kind, here) }
    }
}

/// Which of the types at a name cannot be beside one.
fn conflicts(kind: RecordType, here: BTreeSet<String>) -> Vec<String> {
    let alias = RecordType::Cname.word();
    here.into_iter().filter(|word| word != kind.word() && (kind == RecordType::Cname || word == alias)).collect()
}

/// All that a zone holds of some names; `None` where the server gives no transfer to this key.
async fn transfer(
    server: &Inner,
    session: &mut Session,
    zone: &str,
    names: &[&RrsetName],
) -> Result<Option<Held>, Fault> {
    let wanted: BTreeSet<&str> = names.iter().map(|name| name.name.as_str()).collect();
    let mut held = Held::default();
    let ended = each_record(server, session, zone, |record| {
        let name = text::named(&record.name);
        if !wanted.contains(name.as_str()) {
            return;
        }
        if !of_dnssec(record.record_type()) {
            held.types.entry(name.clone()).or_default().insert(record.record_type().to_string());
        }
        if let Some((kind, value)) = text::write(&record.data) {
            held.sets.entry((name, kind)).or_default().add(record.ttl, value);
        }
    })
    .await?;
    Ok(ended.then_some(held))
}

/// Whether a transfer of a zone is let to this key, asked by beginning one.
pub(super) async fn may_transfer(server: &Inner, zone: &str) -> Result<bool, Fault> {
    let mut session = Session::open(server).await?;
    each_record(server, &mut session, zone, |_| {}).await
}

/// Goes through a zone (RFC 5936): its SOA at either end, and nothing of another zone between.
/// `false` where the server gives none.
async fn each_record(
    server: &Inner,
    session: &mut Session,
    zone: &str,
    mut each: impl FnMut(&Record),
) -> Result<bool, Fault> {
    let whom = server.whom();
    let odd = |why: String| fault("invalid", format!("{whom} gives a transfer of {zone} that {why}"));
    let within = labels(zone).map_err(|why| fault("invalid", why))?;
    let asked = question(zone, WireType::AXFR)?;
    let mut verifier = session.send(&asked).await.map_err(|trouble| trouble.fault)?;
    let until = Instant::now() + Duration::from_millis(server.limits.transfer_ms.into());
    let (mut begun, mut records, mut bytes) = (None::<RData>, 0_usize, 0_usize);
    loop {
        let message = match session.receive().await {
            Ok(message) => message,
            // Some end the connection instead of saying no.
            Err(_) if begun.is_none() => return Ok(false),
            Err(fault) => return Err(fault),
        };
        bytes += message.len();
        let answer = match session.believe(&asked, &message, &mut verifier, begun.is_none()) {
            Ok(answer) => answer,
            // Knot says of a key that may not have transfers that it does not know it. Whether
            // that is so a question tells.
            Err(Trouble { fault, .. }) if begun.is_none() && matches!(fault.code.as_str(), "denied" | "auth") => {
                return Ok(false);
            }
            Err(trouble) => return Err(trouble.fault),
        };
        match answer.response_code {
            ResponseCode::NoError => {}
            ResponseCode::Refused | ResponseCode::NotAuth | ResponseCode::NotImp if begun.is_none() => {
                return Ok(false);
            }
            code => return Err(refusal(&whom, code, true)),
        }
        if answer.answers.is_empty() {
            return Err(odd("has a message without records".to_owned()));
        }
        for record in &answer.answers {
            records += 1;
            if record.dns_class != DNSClass::IN
                || !labels(&text::named(&record.name)).is_ok_and(|name| name.ends_with(&within))
            {
                return Err(odd(format!("holds {}, which is not in it", text::named(&record.name))));
            }
            match (&begun, record.record_type()) {
                (None, WireType::SOA) if text::is(&record.name, zone) => begun = Some(record.data.clone()),
                (None, _) => return Err(odd("does not begin with its SOA".to_owned())),
                (Some(soa), WireType::SOA) if *soa == record.data && text::is(&record.name, zone) => return Ok(true),
                (Some(_), WireType::SOA) => return Err(odd("ends with another SOA".to_owned())),
                (Some(_), _) => each(record),
            }
        }
        let limits = &server.limits;
        if records > limits.records || bytes > limits.bytes {
            let why = format!("has more than {} records or {} bytes", limits.records, limits.bytes);
            return Err(fault("limit", format!("{whom}: the zone {zone} {why}")));
        }
        if Instant::now() >= until {
            return Err(fault(
                "timeout",
                format!("{whom}: the zone {zone} is not there after {} ms", limits.transfer_ms),
            )
            .retryable());
        }
    }
}

/// Types that the server makes by itself, or that can be beside anything.
fn of_dnssec(kind: WireType) -> bool {
    kind.is_dnssec()
}

/// Asks for one set after another.
struct Asker<'s> {
    session: &'s mut Session,
    whom: String,
    /// Whether there is anything under a wildcard, by its name and type.
    wildcards: BTreeMap<(String, RecordType), bool>,
}

/// What a question for one set tells.
struct Told {
    set: Gathered,
    alias: bool,
    /// Whether there is nothing at all under the name.
    nobody: bool,
}

impl Asker<'_> {
    /// An error in here is about the one set, one outside about the connection.
    async fn ask_about(&mut self, name: &RrsetName) -> Result<Result<Found, Fault>, Trouble> {
        let told = match self.ask(name).await? {
            Ok(told) => told,
            Err(fault) => return Ok(Err(fault)),
        };
        if (told.set.ttl.is_some() || told.alias) && !name.name.starts_with("*.") {
            let kind = if told.alias { RecordType::Cname } else { name.kind };
            if let Some(wildcard) = self.wildcard_above(name, kind).await? {
                let message = format!(
                    "{} {kind} may be there by itself or come of {wildcard}, and only a transfer tells which: let the \
                     key have transfers of {}",
                    name.name, name.zone
                );
                return Ok(Err(fault("ambiguous", message)));
            }
        }
        let mut here = BTreeSet::new();
        if told.alias && name.kind != RecordType::Cname {
            here.insert(RecordType::Cname.word().to_owned());
        }
        // Beside an alias that is there nothing else can be.
        if name.kind == RecordType::Cname && told.set.ttl.is_none() && !told.nobody {
            for kind in RecordType::ALL.into_iter().filter(|kind| *kind != RecordType::Cname) {
                let Ok(other) = RrsetName::new(&name.zone, &name.name, kind) else { continue };
                match self.ask(&other).await? {
                    Ok(told) if told.set.ttl.is_some() => drop(here.insert(kind.word().to_owned())),
                    Ok(_) => {}
                    Err(fault) => return Ok(Err(fault)),
                }
            }
        }
        Ok(Ok(Found { set: told.set.set(name), beside: conflicts(name.kind, here) }))
    }

    /// A wildcard above a name that has records of a type: an answer may come of it.
    async fn wildcard_above(&mut self, name: &RrsetName, kind: RecordType) -> Result<Option<String>, Trouble> {
        let zone = labels(&name.zone).map_err(|why| fault("invalid", why))?;
        let mut above = labels(&name.name).map_err(|why| fault("invalid", why))?;
        while above.len() > zone.len() {
            above.remove(0);
            let star = spelled(std::iter::once(&b"*"[..]).chain(above.iter().map(Vec::as_slice)));
            let key = (star.clone(), kind);
            let there = match self.wildcards.get(&key) {
                Some(there) => *there,
                None => {
                    let Ok(asked) = RrsetName::new(&name.zone, &star, kind) else { continue };
                    let there = self.ask(&asked).await?.is_ok_and(|told| told.set.ttl.is_some());
                    self.wildcards.insert(key, there);
                    there
                }
            };
            if there {
                return Ok(Some(star));
            }
        }
        Ok(None)
    }

    async fn ask(&mut self, name: &RrsetName) -> Result<Result<Told, Fault>, Trouble> {
        let answer = self.session.ask(question(&name.name, text::wire(name.kind))?).await?;
        Ok(self.read(name, &answer))
    }

    fn read(&self, name: &RrsetName, answer: &Message) -> Result<Told, Fault> {
        let whom = &self.whom;
        let odd = |why: String| fault("invalid", format!("{whom}: an answer about {} {} {why}", name.name, name.kind));
        let nobody = answer.response_code == ResponseCode::NXDomain;
        if answer.response_code != ResponseCode::NoError && !nobody {
            return Err(refusal(whom, answer.response_code, true));
        }
        let mut told = Told { set: Gathered::default(), alias: false, nobody };
        // At a cut the parent's side is told as a referral, which is not its to vouch for (RFC 1034, 4.2.1).
        let cut = !answer.authoritative && name.kind == RecordType::Ns;
        if !(answer.authoritative || cut && answer.answers.is_empty()) {
            let message = format!("{whom} is not authoritative for {}", name.name);
            return Err(fault("invalid", message)
                .hint(format!("is it the primary of {}, and is the name not delegated?", name.zone)));
        }
        let records = if cut { &answer.authorities } else { &answer.answers };
        for record in records {
            let here = text::is(&record.name, &name.name);
            match text::write(&record.data) {
                _ if record.dns_class != DNSClass::IN => return Err(odd("is of another class".to_owned())),
                Some((kind, value)) if here && kind == name.kind => told.set.add(record.ttl, value),
                Some((RecordType::Cname, _)) if here => told.alias = true,
                // Where an alias leads is told with it.
                _ if told.alias || of_dnssec(record.record_type()) => {}
                _ if cut => {}
                _ => return Err(odd(format!("holds {} {}", text::named(&record.name), record.record_type()))),
            }
        }
        if nobody && told.set.ttl.is_some() {
            return Err(odd("says that the name is not there, and gives its records".to_owned()));
        }
        Ok(told)
    }
}
