//! Signals of the process: SIGHUP reads the config anew, SIGTERM and SIGINT end what is
//! in hand and leave, a second one leaves at once.

use std::sync::Arc;

use jiff::Timestamp;
use tidelock_model::event::RunEvent;
use tidelock_reconcile::driver::{Handle, Signal};
use tidelock_server::Server;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use super::Parts;
use super::notify::Systemd;
use crate::config::Loaded;
use crate::context::Context;
use crate::error::{CliError, Kind};

/// The signals that end a daemon.
pub(super) struct Ending {
    terminate: Stream,
    interrupt: Stream,
}

impl Ending {
    /// Waits for one of them.
    pub(super) async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Follows signals until one of them has told the loop to end, and gives the way to hear
/// of a second one.
pub(super) async fn follow(
    context: &Context,
    loaded: &Loaded,
    parts: &Parts,
    handle: &Handle,
    systemd: &Systemd,
    http: Option<&Server>,
) -> Result<Ending, CliError> {
    let mut hangup = stream(SignalKind::hangup())?;
    let mut ending =
        Ending { terminate: stream(SignalKind::terminate())?, interrupt: stream(SignalKind::interrupt())? };
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                systemd.reloading();
                reload(context, loaded, parts, handle, http).await;
                systemd.ready();
            }
            () = ending.told() => break,
        }
    }
    tracing::info!("told to end: what is under way ends, nothing more is begun");
    systemd.stopping();
    handle.send(Signal::Drain).await;
    Ok(ending)
}

fn stream(kind: SignalKind) -> Result<Stream, CliError> {
    signal(kind).map_err(|error| CliError::new(Kind::Io, format!("cannot follow signals: {error}")))
}

/// Reads the config anew. A bad one is refused, and the old one stays.
async fn reload(context: &Context, before: &Loaded, parts: &Parts, handle: &Handle, http: Option<&Server>) {
    let Parts { runtime, watches, .. } = parts;
    let (store, listener) = (Arc::clone(&runtime.store), Arc::clone(&runtime.listener));
    let read: Result<_, CliError> = tokio::task::block_in_place(|| {
        let loaded = super::load(context)?;
        stays(before, &loaded)?;
        let sources = super::http::sources(&loaded)?;
        Ok((crate::wire::over(&loaded, listener, store, watches.as_ref())?, sources))
    });
    match read {
        Ok((new, sources)) => {
            if let Some(http) = http {
                http.set_sources(sources);
            }
            handle.send(Signal::Reload(Box::new(new))).await;
        }
        Err(error) => {
            let why = whole(&error);
            tracing::error!("the new config was refused, the old one stays: {why}");
            let event = RunEvent::ConfigRefused { why };
            if let Err(error) = runtime.store.put_event(Timestamp::now(), None, None, &event) {
                tracing::warn!(%error, "an event was not stored");
            }
        }
    }
}

/// What a running daemon cannot change.
fn stays(before: &Loaded, after: &Loaded) -> Result<(), CliError> {
    for (what, old, new) in [
        ("[store] url", before.store(), after.store()),
        ("the cache", before.cache(), after.cache()),
        ("[daemon] socket", before.socket(), after.socket()),
    ] {
        if old != new {
            let message = format!("{what} is now {}, and was {} at the start", new.display(), old.display());
            return Err(CliError::new(Kind::Config, message).hint("restart the daemon for that"));
        }
    }
    if before.http() != after.http() {
        let shown = |at: Option<std::net::SocketAddr>| at.map_or_else(|| "not given".to_owned(), |at| at.to_string());
        let message =
            format!("[http] listen is now {}, and was {} at the start", shown(after.http()), shown(before.http()));
        return Err(CliError::new(Kind::Config, message).hint("restart the daemon for that"));
    }
    Ok(())
}

/// An error on one line: where, what, why and how to mend it.
fn whole(error: &CliError) -> String {
    let place = error.notes.iter().filter_map(|note| note.shown.as_ref()).map(|shown| {
        let (line, column) = shown.position();
        format!("{}:{line}:{column}: ", shown.file)
    });
    let hints = error.hints.iter().chain(error.notes.iter().filter_map(|note| note.hint.as_ref()));
    let mut text: String = place.take(1).collect();
    text.push_str(&error.message);
    for cause in &error.causes {
        text.push_str(&format!("; {cause}"));
    }
    for hint in hints {
        text.push_str(&format!(" (hint: {})", hint.replace('\n', " ")));
    }
    text
}
