//! A request to its answer. Knows no sockets, so tests ask it directly.

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::Site;
use crate::metrics::{Format, Unread};

const NOTHING: &str = "there is nothing here; there are /healthz, /readyz, /metrics and /webhook/SOURCE";

/// What is answered.
pub(crate) type Answer = Response<Full<Bytes>>;

impl Site {
    /// Answers a request.
    pub(crate) async fn answer<B: Body>(self: Arc<Self>, request: Request<B>) -> Answer {
        let path = request.uri().path();
        match path {
            "/healthz" | "/readyz" | "/metrics" => {
                if !matches!(*request.method(), Method::GET | Method::HEAD) {
                    return allowing("GET, HEAD");
                }
                match path {
                    "/healthz" => self.health(),
                    "/readyz" => self.readiness().await,
                    _ => {
                        let format = Format::wanted(request.headers().get(ACCEPT));
                        self.figures(format).await
                    }
                }
            }
            _ => match path
                .strip_prefix("/webhook/")
                .map(|name| percent_decode_str(name).decode_utf8_lossy().into_owned())
            {
                Some(name) => self.webhook(&name, request).await,
                None => text(StatusCode::NOT_FOUND, NOTHING),
            },
        }
    }

    /// `GET /metrics`.
    async fn figures(self: Arc<Self>, format: Format) -> Answer {
        let sources = self.declared();
        let write = move || self.metrics.write(self.store.as_ref(), &self.guards, &sources.sources, format);
        let written = tokio::task::spawn_blocking(write).await;
        match written {
            Ok(Ok(figures)) => of(StatusCode::OK, format.content_type(), figures),
            Ok(Err(Unread::Guards(fault))) => {
                tracing::warn!(why = %fault.message, "no figures: the guards cannot be read");
                text(StatusCode::INTERNAL_SERVER_ERROR, "the guards cannot be read; the log says why")
            }
            Ok(Err(Unread::Store(error))) => {
                tracing::warn!(%error, "no figures: the store cannot be read");
                text(StatusCode::INTERNAL_SERVER_ERROR, "the store cannot be read; the log says why")
            }
            Err(error) => {
                tracing::error!(%error, "no figures, by a fault of ours");
                text(StatusCode::INTERNAL_SERVER_ERROR, "a fault of ours; the log has more")
            }
        }
    }
}

/// An answer with a body.
pub(crate) fn of(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// A sentence of ours.
pub(crate) fn text(status: StatusCode, sentence: &str) -> Answer {
    of(status, "text/plain; charset=utf-8", format!("{sentence}\n"))
}

/// A value.
pub(crate) fn json_of(status: StatusCode, value: &Value) -> Answer {
    of(status, "application/json", format!("{value}\n"))
}

/// Another method was meant.
pub(crate) fn allowing(methods: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, &format!("this takes {methods}"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    answer
}
