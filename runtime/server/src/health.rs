//! `/healthz`: the loop lives. `/readyz`: it can do its work, or what is missing for that.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::json;
use tidelock_reconcile::driver::Pulse;

use crate::Site;
use crate::route::{Answer, json_of, text};

/// How long the loop may go without a turn before it counts as hung: as long as the unit in
/// `examples/systemd` gives it before systemd kills it. It makes one each 5 s at least.
pub(crate) const LIFE: Duration = Duration::from_secs(60);

/// When the loop was last seen alive.
pub(crate) struct Life(Mutex<Seen>);

#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    turned: bool,
    draining: bool,
}

impl Default for Life {
    fn default() -> Self {
        Self(Mutex::new(Seen { at: Instant::now(), turned: false, draining: false }))
    }
}

impl Life {
    /// Notes a turn of the loop.
    pub(crate) fn beat(&self, pulse: &Pulse) {
        let seen = Seen { at: Instant::now(), turned: true, draining: pulse.draining };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    fn seen(&self) -> Seen {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the loop lives. Before its first turn it has as long for that as between two.
    fn lives(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.seen().at) < LIFE
    }
}

impl Site {
    /// `GET /healthz`.
    pub(crate) fn health(&self) -> Answer {
        if self.life.lives(Instant::now()) {
            text(StatusCode::OK, "ok")
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, "the loop has made no turn for a minute")
        }
    }

    /// `GET /readyz`.
    pub(crate) async fn readiness(self: Arc<Self>) -> Answer {
        let site = Arc::clone(&self);
        let missing = tokio::task::spawn_blocking(move || site.missing()).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the readiness could not be told");
            vec!["the answer, by a fault of ours; the log has more".to_owned()]
        });
        let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        json_of(status, &json!({ "ready": missing.is_empty(), "missing": missing }))
    }

    /// What is missing for the loop's work, a sentence each.
    fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        let seen = self.life.seen();
        if !seen.turned {
            missing.push("the loop has made no turn yet".to_owned());
        } else if seen.draining {
            missing.push("the daemon is about to end".to_owned());
        } else if !self.life.lives(Instant::now()) {
            missing.push("the loop has made no turn for a minute".to_owned());
        }
        for source in &self.declared().sources {
            match self.store.revision(source) {
                Ok(Some(_)) => {}
                Ok(None) => missing.push(format!("source {source} has no revision in force")),
                Err(error) => {
                    tracing::warn!(%error, "the store cannot be read");
                    missing.push("the store cannot be read; the log says why".to_owned());
                    break;
                }
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn pulse() -> Pulse {
        Pulse { at: Timestamp::UNIX_EPOCH, lanes: 0, passes: 0, passed: 0, failed: 0, polled: 0, draining: false }
    }

    #[test]
    fn a_loop_that_makes_no_turn_for_a_minute_does_not_live() {
        let life = Life::default();
        let begun = Instant::now();
        assert!(life.lives(begun), "it may take its time for the first turn");
        assert!(!life.lives(begun + LIFE + Duration::from_secs(1)), "but not for ever");
        life.beat(&pulse());
        let turned = Instant::now();
        assert!(life.lives(turned + LIFE / 2));
        assert!(!life.lives(turned + LIFE));
    }
}
