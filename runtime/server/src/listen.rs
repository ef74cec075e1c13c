//! Sockets. Whoever connects has so long for a header, so long for all of it, and so much
//! room; a slow one takes a place from others for a few seconds and no longer.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Site;

/// Connections that are served at once; others wait in the system's queue. With a body of
/// [`crate::webhook::BODY`] each, the most memory that strangers can have us hold.
const CONNECTIONS: usize = 64;

/// How long a header may take to arrive.
const HEADER_TIME: Duration = Duration::from_secs(5);

/// How long a connection may take in all, from its first byte to the end of our answer.
const CONNECTION_TIME: Duration = Duration::from_secs(30);

/// The largest header, in bytes. Forges send well under 2 KiB.
const HEADER: usize = 16 << 10;

/// How long to wait where no connection can be taken.
const REST: Duration = Duration::from_millis(200);

/// Takes connections until it is aborted, and those under way with it.
pub(crate) async fn accept(listener: TcpListener, site: Arc<Site>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut serving = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while serving.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, peer)) => {
                let site = Arc::clone(&site);
                serving.spawn(async move {
                    let _place = place;
                    match tokio::time::timeout(CONNECTION_TIME, serve(stream, site)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "an HTTP client was left"),
                        Err(_) => tracing::debug!(%peer, "an HTTP client took too long"),
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: others must give some back first.
                tracing::warn!(%error, "the HTTP listener takes nobody");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// One request on one connection: what scrapes every few seconds can afford to connect, and
/// nobody holds a place between two requests.
async fn serve(stream: TcpStream, site: Arc<Site>) -> Result<(), hyper::Error> {
    let service = service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, std::convert::Infallible>(site.answer(request).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEADER)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}
