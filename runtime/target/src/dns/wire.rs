//! Speaking to a server: one connection, every message signed, every answer verified before
//! anything of it is believed. What is larger or slower than it may be ends the connection.

use std::collections::BTreeMap;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError};
use hickory_proto::rr::{DNSClass, RecordType as WireType, TSigVerifier, TSigner};
use tidelock_model::config::DnsAlgorithm;
use tidelock_model::error::Fault;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Inner, fault, text};

/// How far clocks may be apart, in seconds: what RFC 8945 (10) recommends.
const FUDGE: u16 = 300;

/// What came of a question.
pub(super) struct Trouble {
    pub(super) fault: Fault,
    /// Whether the question may have been answered none the less: an update may be done.
    pub(super) unknown: bool,
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self { fault, unknown: false }
    }
}

/// A connection.
pub(super) struct Session {
    stream: TcpStream,
    signer: TSigner,
    /// Whom it leads to, for errors.
    whom: String,
    answer_ms: u32,
}

impl Session {
    /// Connects. The key is read anew each time, so that a new one counts without a restart.
    pub(super) async fn open(server: &Inner) -> Result<Self, Fault> {
        let whom = server.whom();
        let signer = server.signer().await?;
        let host = server.host()?;
        let unreachable = |why: String| {
            fault("unreachable", format!("{whom} cannot be reached: {why}"))
                .retryable()
                .hint("is it up, and does it answer over TCP at this address and port?")
        };
        let connect = async {
            let mut why = "its name has no address".to_owned();
            let addresses = tokio::net::lookup_host((host.as_str(), server.port())).await;
            for address in addresses.map_err(|error| unreachable(error.to_string()))? {
                match TcpStream::connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => why = error.to_string(),
                }
            }
            Err(unreachable(why))
        };
        let limit = server.limits.connect_ms;
        let stream =
            in_time(limit, connect).await.unwrap_or_else(|| Err(unreachable(format!("no answer in {limit} ms"))))?;
        // A question is one small write, and is waited for.
        drop(stream.set_nodelay(true));
        Ok(Self { stream, signer, whom, answer_ms: server.limits.answer_ms })
    }

    /// Asks, and gives the verified answer, whatever its code says.
    pub(super) async fn ask(&mut self, question: Message) -> Result<Message, Trouble> {
        let mut verifier = self.send(&question).await?;
        let lost = |fault: Fault| Trouble { fault, unknown: true };
        let bytes = self.receive().await.map_err(lost)?;
        self.believe(&question, &bytes, &mut verifier, true)
    }

    /// Asks several questions at once, and gives the verified answers in their order. A server may
    /// answer in another one (RFC 7766, 6.2.1.1).
    pub(super) async fn ask_all(&mut self, mut questions: Vec<Message>) -> Result<Vec<Message>, Trouble> {
        let first = questions.first().map_or(0, |question| question.id);
        let mut open = BTreeMap::new();
        for (place, question) in questions.iter_mut().enumerate() {
            // Drawn one by one, two might be equal.
            question.metadata.id = first.wrapping_add(u16::try_from(place).unwrap_or(u16::MAX));
            let verifier = self.send(question).await?;
            open.insert(question.id, (place, verifier));
        }
        let mut answers = Vec::with_capacity(questions.len());
        while !open.is_empty() {
            let bytes = self.receive().await?;
            let id = bytes.first_chunk().map(|id| u16::from_be_bytes(*id));
            let Some((place, mut verifier)) = id.and_then(|id| open.remove(&id)) else {
                return Err(
                    fault("invalid", format!("{} gives an answer that belongs to no question", self.whom)).into()
                );
            };
            answers.push((place, self.believe(&questions[place], &bytes, &mut verifier, true)?));
        }
        answers.sort_by_key(|(place, _)| *place);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    /// Signs and sends a question.
    pub(super) async fn send(&mut self, question: &Message) -> Result<TSigVerifier, Trouble> {
        let odd =
            |error: &dyn ToString| fault("invalid", format!("a question cannot be written: {}", error.to_string()));
        let (signature, verifier) = self.signer.sign_message(question, now()).map_err(|error| odd(&error))?;
        let verifier = verifier.ok_or_else(|| odd(&"it has no signature"))?;
        let mut signed = question.clone();
        signed.set_signature(signature);
        let bytes = signed.to_vec().map_err(|error| odd(&error))?;
        let length = u16::try_from(bytes.len()).map_err(|_| odd(&format!("it has {} bytes", bytes.len())))?;
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend(bytes);
        let sent = in_time(self.answer_ms, self.stream.write_all(&framed)).await;
        match sent {
            Some(Ok(())) => Ok(verifier),
            // It may be there in whole.
            Some(Err(error)) => Err(Trouble { fault: self.gone(&error.to_string()), unknown: true }),
            None => Err(Trouble { fault: self.gone("it takes no more"), unknown: true }),
        }
    }

    /// The next message. 64 KiB at most, as its length has 16 bits.
    pub(super) async fn receive(&mut self) -> Result<Vec<u8>, Fault> {
        let limit = self.answer_ms;
        let stream = &mut self.stream;
        let read = async {
            let length = stream.read_u16().await?;
            let mut bytes = vec![0; usize::from(length)];
            stream.read_exact(&mut bytes).await?;
            Ok::<_, std::io::Error>(bytes)
        };
        match in_time(limit, read).await {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(error)) => Err(self.gone(&error.to_string())),
            None => Err(self.gone(&format!("no answer in {limit} ms"))),
        }
    }

    /// An answer, once it is known to be this server's to this question.
    pub(super) fn believe(
        &self,
        question: &Message,
        bytes: &[u8],
        verifier: &mut TSigVerifier,
        first: bool,
    ) -> Result<Message, Trouble> {
        let whom = &self.whom;
        let doubted = |code: &str, why: String| Trouble { fault: fault(code, why), unknown: true };
        let odd = |why: &str| doubted("invalid", format!("{whom} gives an answer that {why}"));
        // Read as a whole first: what follows takes its counts for true.
        let answer = Message::from_vec(bytes).map_err(|_| odd("cannot be read"))?;
        if answer.message_type != MessageType::Response
            || answer.op_code != question.op_code
            || answer.id != question.id
        {
            return Err(odd("belongs to no question"));
        }
        if answer.truncation {
            return Err(odd("was cut short"));
        }
        let asked = question.queries.first();
        let same = |query: &Query| {
            asked.is_some_and(|asked| {
                query.query_type() == asked.query_type()
                    && query.query_class() == asked.query_class()
                    && text::is(query.name(), &text::named(asked.name()))
            })
        };
        // An update's answer, and what follows the first of a transfer, may leave the question out.
        let update = question.op_code == OpCode::Update;
        let may_lack = update || !first || answer.response_code != ResponseCode::NoError;
        if !(answer.queries.iter().all(same) && answer.queries.len() <= 1) || (answer.queries.is_empty() && !may_lack) {
            return Err(odd("is about something else"));
        }
        let code = answer.response_code;
        match answer.signature.as_ref().map(|signature| signature.data.error) {
            // Whoever does not know the key cannot sign (RFC 8945, 5.2). Of a question the refusal is believed, as
            // nothing is done on it; of an update anybody may say so while the server does it.
            None if code != ResponseCode::NoError => {
                return Err(Trouble { fault: refusal(whom, code, false), unknown: update });
            }
            None => {
                let why = format!("{whom} does not sign its answer, so anybody may have given it");
                return Err(doubted("auth", why));
            }
            Some(Some(error)) => return Err(Trouble { fault: self.key_refused(error), unknown: update }),
            Some(None) => {}
        }
        verifier.verify(bytes).map_err(|_| {
            doubted(
                "auth",
                format!(
                    "the signature of an answer of {whom} is wrong: it was changed on its way, or somebody else gave it"
                ),
            )
        })?;
        Ok(answer)
    }

    fn key_refused(&self, error: TsigError) -> Fault {
        let (whom, key) = (&self.whom, text::named(self.signer.signer_name()));
        let (why, hint) = match error {
            TsigError::BadKey => {
                ("does not know the key", "is `key.name` what the server calls it, and `key.algorithm` the same?")
            }
            TsigError::BadSig => ("has another secret for the key", "compare `key.secret` with the server's"),
            TsigError::BadTime => ("has a clock that is too far from ours for the key", "set both clocks"),
            TsigError::BadTrunc => ("wants longer signatures of the key", "take a longer `key.algorithm`"),
            TsigError::Unknown(_) => ("does not take the key", "see the server's log"),
        };
        let code = match error {
            TsigError::BadKey => "BADKEY".to_owned(),
            TsigError::BadSig => "BADSIG".to_owned(),
            TsigError::BadTime => "BADTIME".to_owned(),
            TsigError::BadTrunc => "BADTRUNC".to_owned(),
            TsigError::Unknown(code) => format!("error {code}"),
        };
        fault("auth", format!("{whom} {why} {key} ({code})")).hint(hint)
    }

    fn gone(&self, why: &str) -> Fault {
        fault("unreachable", format!("{} ends the connection: {why}", self.whom)).retryable()
    }
}

/// A question about a name.
pub(super) fn question(name: &str, kind: WireType) -> Result<Message, Fault> {
    let name = text::host(name).map_err(|why| fault("invalid", why))?;
    let mut query = Query::query(name, kind);
    query.set_query_class(DNSClass::IN);
    let mut message = Message::query();
    message.metadata.recursion_desired = false;
    message.add_query(query);
    Ok(message)
}

/// What a server says when it does not do what it was asked.
pub(super) fn refusal(whom: &str, code: ResponseCode, signed: bool) -> Fault {
    let by = if signed { "" } else { ", in an answer that is not signed" };
    let says = |code: &str, why: &str, word: &str| fault(code, format!("{whom} {why} ({word}{by})"));
    match code {
        ResponseCode::Refused => says("denied", "does not let the key do that", "REFUSED")
            .hint("allow the key updates and transfers of the zone: `acl` in knot, `update-policy` and `allow-transfer` in BIND"),
        ResponseCode::NotAuth => says("denied", "does not serve the zone, or not to this key", "NOTAUTH"),
        ResponseCode::NotZone => says("invalid", "finds the name outside of the zone", "NOTZONE"),
        ResponseCode::ServFail => says("io", "failed", "SERVFAIL").retryable().hint("see the server's log"),
        ResponseCode::FormErr => says("invalid", "does not understand", "FORMERR"),
        ResponseCode::NotImp => says("unsupported", "does not do that", "NOTIMP"),
        other => says("io", "answers with an error", &other.to_string()),
    }
}

/// A name of an algorithm as TSIG has it.
pub(super) fn algorithm(algorithm: DnsAlgorithm) -> TsigAlgorithm {
    match algorithm {
        DnsAlgorithm::HmacSha256 => TsigAlgorithm::HmacSha256,
        DnsAlgorithm::HmacSha384 => TsigAlgorithm::HmacSha384,
        DnsAlgorithm::HmacSha512 => TsigAlgorithm::HmacSha512,
    }
}

/// A key as the library takes it.
pub(super) fn signer(name: &str, kind: DnsAlgorithm, secret: Vec<u8>) -> Result<TSigner, Fault> {
    let name = text::host(name).map_err(|why| fault("invalid", format!("key.name: {why}")))?;
    TSigner::new(secret, algorithm(kind), name, FUDGE).map_err(|error| fault("invalid", format!("key: {error}")))
}

/// The time of day, in seconds since 1970: what TSIG is about.
fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    u64::try_from(now.tv_sec).unwrap_or(0)
}

async fn in_time<T>(ms: u32, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_millis(ms.into()), work).await.ok()
}
