//! Servers that lie, with the right key: what they say is refused by what it is.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::rdata::{A, CNAME, SOA};
use hickory_proto::rr::{Name, RData, Record, TSigResponseContext, TSigner};
use tidelock_model::config::{DnsDecl, DnsKeyDecl, Given, Hosts, KeyPlace};
use tidelock_model::dns::{DnsEffect, RecordType, Rrset, RrsetName};
use tidelock_model::effect::{AfterCrash, Effect, EffectBody, Precondition};
use tidelock_model::error::Fault;
use tidelock_model::grant::{Grant, GrantDecl};
use tidelock_model::name::{Identity, Lane, Name as TargetName};
use tidelock_model::plan::{Group, PlannedEffect, Preview};
use tidelock_model::port::{Blobs, Target as _, Until};
use tidelock_model::run::EffectEnd;
use tidelock_model::secret::{SecretName, SecretValue};
use tidelock_target::dns::{DnsLimits, DnsOptions, DnsServer, Found};

const SECRET: &[u8] = b"thirty-two bytes of a test's key";

fn signer() -> TSigner {
    TSigner::new(SECRET.to_vec(), TsigAlgorithm::HmacSha256, named("tidelock."), 300).unwrap()
}

fn named(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a server of the tests signs by the real clock")]
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// What a server sends: bytes as they are.
type Answer = Box<dyn Fn(&Message) -> Vec<u8> + Send + Sync>;

/// An answer, framed and signed at a time.
fn signed_at(question: &Message, mut answer: Message, time: u64) -> Vec<u8> {
    let mac = question.signature.as_ref().map(|signature| signature.data.mac.clone()).unwrap_or_default();
    answer.signature = None;
    let bytes = answer.to_vec().unwrap();
    let context = TSigResponseContext::new(question.id, time, signer(), mac, None);
    answer.set_signature(context.sign(&bytes).unwrap());
    framed(&answer.to_vec().unwrap())
}

fn signed(question: &Message, answer: Message) -> Vec<u8> {
    signed_at(question, answer, now())
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    out.extend(bytes);
    out
}

/// A reply without records, as an authoritative server gives it.
fn reply(question: &Message) -> Message {
    let mut answer = Message::new(question.id, MessageType::Response, question.op_code);
    answer.metadata.authoritative = true;
    answer.queries = question.queries.clone();
    answer
}

fn record(name: &str, data: RData) -> Record {
    Record::from_rdata(named(name), 60, data)
}

fn address(name: &str) -> Record {
    record(name, RData::A(A::new(192, 0, 2, 1)))
}

fn soa(zone: &str) -> Record {
    record(zone, RData::SOA(SOA::new(named("ns1.example.com."), named("host.example.com."), 1, 1, 1, 1, 1)))
}

/// Serves each connection with one function. The first of each is given to the transfer.
fn serve(answer: Answer) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = std::sync::Arc::new(answer);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let answer = std::sync::Arc::clone(&answer);
            std::thread::spawn(move || speak(client, &**answer));
        }
    });
    port
}

fn speak(mut client: TcpStream, answer: &(dyn Fn(&Message) -> Vec<u8> + Send + Sync)) {
    let mut length = [0; 2];
    while client.read_exact(&mut length).is_ok() {
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
        if client.read_exact(&mut bytes).is_err() {
            return;
        }
        let question = Message::from_vec(&bytes).unwrap();
        if client.write_all(&answer(&question)).is_err() {
            return;
        }
    }
}

fn target(folder: &Path, port: u16) -> DnsServer {
    let file = folder.join("tsig.secret");
    std::fs::write(&file, base64::engine::general_purpose::STANDARD.encode(SECRET)).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let decl = DnsDecl {
        host: Hosts::One(Given::Literal("127.0.0.1".into())),
        port: Some(port),
        zones: vec!["example.com".into()],
        key: Some(DnsKeyDecl {
            name: "tidelock".into(),
            algorithm: Default::default(),
            secret: KeyPlace::File(file.display().to_string()),
        }),
    };
    let grant = GrantDecl { records: vec!["**.example.com *".into()], ..GrantDecl::default() };
    let grant = Grant::new("network", "ns", [&grant], vec![]).unwrap();
    let limits = DnsLimits { answer_ms: 500, transfer_ms: 2_000, records: 100, ..DnsLimits::default() };
    let options = DnsOptions { limits, ..DnsOptions::default() };
    DnsServer::new(&TargetName::new("ns").unwrap(), decl, vec![grant], options).unwrap()
}

fn rrset() -> RrsetName {
    "rrset:example.com./www.example.com./A".parse().unwrap()
}

async fn look(answer: Answer) -> Result<Found, Fault> {
    let folder = tempfile::tempdir().unwrap();
    target(folder.path(), serve(answer)).look(&[rrset()]).await.remove(0)
}

/// A server that gives no transfers, and this about everything else.
fn to_questions(answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Answer {
    Box::new(move |question| {
        if question.queries[0].query_type().to_string() == "AXFR" {
            let mut refused = reply(question);
            refused.metadata.response_code = ResponseCode::Refused;
            return signed(question, refused);
        }
        answer(question)
    })
}

fn transfer(records: Vec<Record>) -> Answer {
    Box::new(move |question| {
        let mut answer = reply(question);
        answer.answers = records.clone();
        signed(question, answer)
    })
}

#[tokio::test]
async fn an_honest_server_is_believed() {
    let found =
        look(transfer(vec![soa("example.com."), address("WWW.example.com."), soa("example.com.")])).await.unwrap();
    assert_eq!(found.set.unwrap().values, ["192.0.2.1"]);
    let found = look(to_questions(|question| {
        let mut answer = reply(question);
        if question.queries[0].name().to_string().starts_with("www") {
            answer.answers = vec![address("www.example.com.")];
        }
        signed(question, answer)
    }))
    .await
    .unwrap();
    assert_eq!(found.set.unwrap().values, ["192.0.2.1"]);
}

#[tokio::test]
async fn answers_that_are_not_to_the_question_are_refused() {
    let with = |change: fn(&mut Message)| {
        to_questions(move |question| {
            let mut answer = reply(question);
            answer.answers = vec![address("www.example.com.")];
            change(&mut answer);
            signed(question, answer)
        })
    };
    for (answer, words) in [
        (with(|answer| answer.answers = vec![address("evil.example.com.")]), "holds evil.example.com. A"),
        (
            with(|answer| {
                answer.answers = vec![record("www.example.com.", soa("x.").data)];
            }),
            "holds www.example.com. SOA",
        ),
        (with(|answer| answer.metadata.authoritative = false), "is not authoritative"),
        (with(|answer| answer.metadata.id ^= 1), "belongs to no question"),
        (with(|answer| answer.metadata.message_type = MessageType::Query), "belongs to no question"),
        (with(|answer| answer.metadata.op_code = OpCode::Notify), "belongs to no question"),
        (with(|answer| answer.metadata.truncation = true), "was cut short"),
        (with(|answer| answer.queries.clear()), "is about something else"),
        (
            with(|answer| {
                answer.queries[0].set_name(named("evil.example.com."));
            }),
            "is about something else",
        ),
        (with(|answer| answer.metadata.response_code = ResponseCode::NXDomain), "says that the name is not there"),
        (with(|answer| answer.metadata.response_code = ResponseCode::ServFail), "SERVFAIL"),
    ] {
        let fault = look(answer).await.unwrap_err();
        assert!(fault.to_string().contains(words), "{words}: {fault}");
    }
    // Where an alias leads is nobody's business here.
    let alias = to_questions(|question| {
        let mut answer = reply(question);
        if question.queries[0].name().to_string().starts_with("www") {
            let to = RData::CNAME(CNAME(named("elsewhere.example.org.")));
            answer.answers = vec![record("www.example.com.", to), address("elsewhere.example.org.")];
        }
        signed(question, answer)
    });
    let found = look(alias).await.unwrap();
    assert_eq!((found.set, found.beside), (None, vec!["CNAME".to_owned()]));
}

#[tokio::test]
async fn transfers_that_are_not_the_zone_are_refused() {
    let many: Vec<Record> = (0..200).map(|i| address(&format!("h{i}.example.com."))).collect();
    for (records, words) in [
        (vec![], "has a message without records"),
        (vec![address("www.example.com.")], "does not begin with its SOA"),
        (vec![soa("example.org.")], "holds example.org., which is not in it"),
        (vec![soa("sub.example.com.")], "does not begin with its SOA"),
        (vec![soa("example.com."), address("www.example.org.")], "holds www.example.org., which is not in it"),
        (vec![soa("example.com."), soa("sub.example.com.")], "ends with another SOA"),
        ([vec![soa("example.com.")], many].concat(), "has more than 100 records"),
        // It goes on, and nothing comes.
        (vec![soa("example.com."), address("www.example.com.")], "no answer in 500 ms"),
    ] {
        let fault = look(transfer(records)).await.unwrap_err();
        assert!(fault.to_string().contains(words), "{words}: {fault}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_answer_end_the_connection_in_time() {
    let bytes = |bytes: Vec<u8>| to_questions(move |_| bytes.clone());
    let flipped = to_questions(|question| {
        let mut answer = reply(question);
        answer.answers = vec![address("www.example.com.")];
        let mut bytes = signed(question, answer);
        let at = bytes.windows(4).position(|part| part == [192, 0, 2, 1]).unwrap();
        bytes[at + 3] = 66;
        bytes
    });
    let old = to_questions(|question| signed_at(question, reply(question), now() - 3_600));
    // Counts that the message does not bear out.
    let counts = to_questions(|question| {
        let mut bytes = signed(question, reply(question));
        bytes[8..12].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
        bytes
    });
    let began = Instant::now();
    for (answer, words) in [
        (bytes(framed(b"")), "cannot be read"),
        (bytes(framed(&[0xc0; 60_000])), "cannot be read"),
        (bytes(vec![0xff, 0xff, 1, 2, 3]), "no answer in 500 ms"),
        (bytes(vec![]), "no answer in 500 ms"),
        (counts, "cannot be read"),
        (flipped, "the signature of an answer"),
        (old, "the signature of an answer"),
    ] {
        let fault = look(answer).await.unwrap_err();
        assert!(fault.to_string().contains(words), "{words}: {fault}");
    }
    assert!(began.elapsed() < Duration::from_secs(20));
}

struct NoBlobs;

impl Blobs for NoBlobs {
    fn is_secret(&self, _: &tidelock_model::digest::Digest) -> bool {
        false
    }
    fn secret(&self, name: &SecretName) -> Result<SecretValue, Fault> {
        panic!("{name}")
    }
    fn read(&self, digest: &tidelock_model::digest::Digest) -> Result<Vec<u8>, Fault> {
        panic!("{digest}")
    }
}

fn put(precondition: Option<Precondition>) -> Group {
    let set = Rrset {
        zone: "example.com.".into(),
        name: "www.example.com.".into(),
        kind: RecordType::A,
        ttl: 60,
        values: vec!["192.0.2.1".into()],
    };
    let effect = Effect {
        resource: "network.dns-record/www".parse().unwrap(),
        identity: Identity::new(rrset().to_string()),
        plugin: "network".into(),
        body: EffectBody::Dns(DnsEffect::put(set).unwrap()),
        precondition,
        after_crash: AfterCrash::Observe,
        together: None,
        inverse: None,
        inside: vec![],
    };
    let name = |text: &str| TargetName::new(text).unwrap();
    let lane = Lane { source: name("infra"), stack: name("zones"), target: name("ns") };
    let planned =
        PlannedEffect { summary: effect.body.summary(), destructive: false, effect, preview: Preview::default() };
    Group { id: 1, lane, atomic: false, after: vec![], effects: vec![planned] }
}

async fn perform(answer: Answer, precondition: Option<Precondition>) -> EffectEnd {
    let folder = tempfile::tempdir().unwrap();
    let server = target(folder.path(), serve(answer));
    let mut outcomes = server.perform("1", &[put(precondition)], &NoBlobs, &Until::at(u64::MAX)).await;
    outcomes.remove(0).effects.remove(0)
}

#[tokio::test]
async fn an_update_whose_end_cannot_be_known_is_not_called_done() {
    let nothing = || Some(Precondition::Records { rrset: rrset(), records: None });
    let done = perform(Box::new(|question| signed(question, reply(question))), nothing()).await;
    assert_eq!(done, EffectEnd::Done);
    let unsigned = perform(Box::new(|question| framed(&reply(question).to_vec().unwrap())), nothing()).await;
    assert!(matches!(&unsigned, EffectEnd::Unknown { why } if why.contains("does not sign")), "{unsigned:?}");
    // A no that anybody may have given, while the server does it.
    let refused = perform(
        Box::new(|question| {
            let mut answer = reply(question);
            answer.metadata.response_code = ResponseCode::Refused;
            framed(&answer.to_vec().unwrap())
        }),
        nothing(),
    )
    .await;
    assert!(matches!(&refused, EffectEnd::Unknown { why } if why.contains("not signed")), "{refused:?}");
    let silent = perform(Box::new(|_| vec![]), nothing()).await;
    assert!(matches!(&silent, EffectEnd::Unknown { why } if why.contains("no answer")), "{silent:?}");
    let changed = perform(
        Box::new(|question| {
            let mut answer = reply(question);
            answer.metadata.response_code = ResponseCode::YXRRSet;
            signed(question, answer)
        }),
        nothing(),
    )
    .await;
    assert!(matches!(&changed, EffectEnd::Failed { fault } if fault.code == "changed"), "{changed:?}");
    let blind = perform(Box::new(|_| panic!("nothing may be sent")), None).await;
    assert!(matches!(&blind, EffectEnd::Failed { fault } if fault.message.contains("rests on no look")), "{blind:?}");
}
