//! `POST /webhook/SOURCE`: a forge says that somebody has pushed, and the source's server is
//! asked now and not at the next poll.
//!
//! ```text
//! forge      who sends it, and whether it knows the secret
//! payload    whether it is about a push, and to what
//! bucket     how often a source may be woken
//! ```
//!
//! It is a hint and nothing more. What is in force follows from what the server answers and
//! from whose signature is on it, so a webhook that is lost, doubled or forged costs at most
//! one question to the server.
//!
//! **Invariant.** A source without a webhook in the config has none; one without a secret has
//! it for this machine alone. Who does not know the secret spends nothing of what the source's
//! own forge may spend, so that nobody can shut it out.

mod bucket;
mod forge;
mod payload;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use hyper::body::Body;
use hyper::header::{CONTENT_LENGTH, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request, StatusCode};
use jiff::Timestamp;
use tidelock_model::config::SourceDecl;
use tidelock_model::event::RunEvent;
use tidelock_model::name::Name;

use self::bucket::Bucket;
use self::forge::Forge;
use self::payload::About;
use crate::Site;
use crate::route::{Answer, allowing, text};

/// The largest body, in bytes. A push of twenty commits is some 50 KiB.
pub(crate) const BODY: usize = 1 << 20;

/// Up to so much of a body that is too large is read and dropped, so that the sender gets to
/// read why; who sends more is cut off.
const DROPPED: usize = 8 << 20;

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// How a hook's secret is had: read anew for each webhook, so that a rotated one counts at
/// once. The error is for the log.
pub type Secret = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// The webhook of a source.
#[derive(Clone)]
pub struct Hook {
    follows: Option<String>,
    secret: Option<Secret>,
}

impl Hook {
    /// The webhook of a source that is declared so.
    #[must_use]
    pub fn of(decl: &SourceDecl, secret: Option<Secret>) -> Self {
        let follows = match (&decl.branch, &decl.tag, &decl.commit) {
            // A commit stays what it is, whoever pushes.
            (_, _, Some(_)) => None,
            (_, Some(tag), _) => Some(format!("refs/tags/{tag}")),
            (Some(branch), ..) => Some(format!("refs/heads/{branch}")),
            (None, None, None) => Some("refs/heads/main".to_owned()),
        };
        Self { follows, secret }
    }

    /// Whether a push to some ref concerns the source.
    fn concerns(&self, to: Option<&str>) -> bool {
        let Some(follows) = &self.follows else { return false };
        let short = || follows.splitn(3, '/').nth(2);
        to.is_none_or(|to| to == follows || Some(to) == short())
    }
}

/// The webhooks of all sources, and what each may still spend.
#[derive(Default)]
pub(crate) struct Hooks {
    hooks: BTreeMap<Name, Hook>,
    buckets: Mutex<BTreeMap<Name, Bucket>>,
    complaints: Mutex<BTreeMap<Name, Bucket>>,
}

impl Hooks {
    pub(crate) fn of(hooks: BTreeMap<Name, Hook>) -> Self {
        Self { hooks, ..Self::default() }
    }

    /// Lets a source be woken once, or says after how long.
    fn spend(&self, source: &Name) -> Result<(), Duration> {
        take(&self.buckets, source)
    }

    /// Whether the log bears another line on who does not know the secret.
    fn may_complain(&self, source: &Name) -> bool {
        take(&self.complaints, source).is_ok()
    }
}

fn take(buckets: &Mutex<BTreeMap<Name, Bucket>>, source: &Name) -> Result<(), Duration> {
    let now = Instant::now();
    let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
    buckets.entry(source.clone()).or_insert_with(|| Bucket::new(now)).take(now)
}

/// What came of a webhook, for the figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// The source is asked now.
    Taken,
    /// It is about something else.
    Ignored,
    /// It does not know the secret, or cannot be read.
    Refused,
    /// There were too many.
    Limited,
}

impl Came {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
            Self::Limited => "limited",
        }
    }
}

impl Site {
    /// Answers whoever posts to `/webhook/NAME`.
    pub(crate) async fn webhook<B: Body>(self: Arc<Self>, name: &str, request: Request<B>) -> Answer {
        if *request.method() != Method::POST {
            return allowing("POST");
        }
        let declared = self.declared();
        let hooks = &declared.hooks;
        let Some((source, hook)) = Name::new(name).ok().and_then(|name| hooks.hooks.get_key_value(&name)) else {
            let sentence = "no such source has a webhook; give it one in the config: [sources.NAME.webhook]";
            return text(StatusCode::NOT_FOUND, sentence);
        };
        if hook.secret.is_none() && !self.loopback {
            let sentence = "this webhook has no secret, and strangers can reach it; give it one in the config: \
                            [sources.NAME.webhook] secret_file = \"...\"";
            return text(StatusCode::FORBIDDEN, sentence);
        }
        let forge = Forge::of(request.headers());
        let (came, answer) = match self.weigh(hooks, source, hook, forge, request).await {
            Ok(answer) => (Came::Taken, answer),
            Err(otherwise) => otherwise,
        };
        self.metrics.hooked(source, forge.word(), came);
        answer
    }

    async fn weigh<B: Body>(
        &self,
        hooks: &Hooks,
        source: &Name,
        hook: &Hook,
        forge: Forge,
        request: Request<B>,
    ) -> Result<Answer, (Came, Answer)> {
        let (head, body) = request.into_parts();
        let body = whole(&head.headers, body).await.map_err(|answer| (Came::Refused, answer))?;
        if let Some(secret) = &hook.secret {
            proven(hooks, source, forge, Arc::clone(secret), &head.headers, &body)
                .await
                .map_err(|answer| (Came::Refused, answer))?;
        }
        let to = match payload::about(forge, &head.headers, &body) {
            Ok(About::Push(to)) => to,
            Ok(About::Ping) => return Err((Came::Ignored, text(StatusCode::OK, "pong"))),
            Ok(About::Other) => return Err((Came::Ignored, ignored("it is not about a push"))),
            Err(why) => return Err((Came::Refused, text(StatusCode::BAD_REQUEST, why))),
        };
        if !hook.concerns(to.as_deref()) {
            return Err((Came::Ignored, ignored("it is about another branch or tag than the source follows")));
        }
        if let Err(wait) = hooks.spend(source) {
            return Err((Came::Limited, later(StatusCode::TOO_MANY_REQUESTS, wait, "too many webhooks")));
        }
        if !(self.wake)(source) {
            let wait = Duration::from_secs(1);
            return Err((
                Came::Limited,
                later(StatusCode::SERVICE_UNAVAILABLE, wait, "the loop has much to do, or ends"),
            ));
        }
        self.note(source, forge).await;
        Ok(text(StatusCode::ACCEPTED, "taken: the source is asked now"))
    }

    /// Records who asked, as for all that wakes the loop.
    async fn note(&self, source: &Name, forge: Forge) {
        let event = RunEvent::Asked { who: format!("webhook ({})", forge.word()), what: format!("poll {source}") };
        let store = Arc::clone(&self.store);
        let noted = tokio::task::spawn_blocking(move || store.put_event(Timestamp::now(), None, None, &event)).await;
        match noted {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "an event was not stored"),
            Err(error) => tracing::warn!(%error, "an event was not stored"),
        }
    }
}

/// Reads the body, as far as it may go.
async fn whole<B: Body>(headers: &HeaderMap, body: B) -> Result<Vec<u8>, Answer> {
    let too_large = || text(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body is larger than {BODY} bytes"));
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > DROPPED as u64) {
        return Err(too_large());
    }
    let reading = async {
        let (mut kept, mut seen) = (Vec::new(), 0_usize);
        let mut body = std::pin::pin!(body);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| text(StatusCode::BAD_REQUEST, "the body broke off"))?;
            let Ok(mut data) = frame.into_data() else { continue };
            use hyper::body::Buf as _;
            seen = seen.saturating_add(data.remaining());
            if seen > DROPPED {
                break;
            }
            if seen <= BODY {
                kept.extend_from_slice(&data.copy_to_bytes(data.remaining()));
            }
        }
        if seen > BODY { Err(too_large()) } else { Ok(kept) }
    };
    let late =
        |_| Err(text(StatusCode::REQUEST_TIMEOUT, &format!("the body took longer than {} s", BODY_TIME.as_secs())));
    tokio::time::timeout(BODY_TIME, reading).await.unwrap_or_else(late)
}

/// Whether the sender knows the secret.
async fn proven(
    hooks: &Hooks,
    source: &Name,
    forge: Forge,
    secret: Secret,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), Answer> {
    let secret = match tokio::task::spawn_blocking(move || secret()).await {
        Ok(Ok(secret)) => secret,
        Ok(Err(error)) => {
            tracing::error!(%source, error, "the secret of the webhook cannot be read");
            return Err(text(StatusCode::INTERNAL_SERVER_ERROR, "the secret cannot be read; the log says why"));
        }
        Err(error) => {
            tracing::error!(%source, %error, "the secret of the webhook cannot be read, by a fault of ours");
            return Err(text(StatusCode::INTERNAL_SERVER_ERROR, "a fault of ours; the log has more"));
        }
    };
    if forge.knows(&secret, headers, body, Timestamp::now().as_second()) {
        return Ok(());
    }
    let wanted = forge.proof(&secret);
    if hooks.may_complain(source) {
        tracing::warn!(%source, forge = forge.word(), wanted, "a webhook was refused: it does not know the secret");
    }
    Err(text(StatusCode::UNAUTHORIZED, &format!("{wanted} is missing, or is not by this webhook's secret")))
}

fn ignored(why: &str) -> Answer {
    text(StatusCode::ACCEPTED, &format!("ignored: {why}"))
}

fn later(status: StatusCode, wait: Duration, why: &str) -> Answer {
    let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
    let mut answer = text(status, &format!("{why}: try again in {seconds} s; the source is polled anyway"));
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

#[cfg(test)]
mod tests;
