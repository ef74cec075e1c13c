//! What the daemon logs of the events of its passes.

use std::sync::Arc;

use tidelock_model::event::RunEvent;
use tidelock_model::name::Lane;
use tidelock_model::port::Listener;
use tidelock_server::metrics::Metrics;

use crate::commands::said;
use crate::output::one_line;

/// Logs what happens; what each look says anyway at debug. Counts it, too.
pub(super) struct Heard(pub(super) Arc<Metrics>);

impl Listener for Heard {
    fn event(&self, run: Option<&str>, lane: Option<&Lane>, event: &RunEvent) {
        self.0.event(run, lane, event);
        let text = one_line(&said(event).0);
        // What has no lane or no run has no field for it.
        let lane = lane.map(ToString::to_string);
        let lane = lane.as_deref();
        match event {
            // Said where they happen, with more than we know here.
            RunEvent::PluginLog { .. } | RunEvent::PluginFault { .. } | RunEvent::PassFailed { .. } => {}
            RunEvent::Observed { .. }
            | RunEvent::Rendered { .. }
            | RunEvent::Planned { .. }
            | RunEvent::Polled { .. }
            | RunEvent::PassEnded { .. } => {
                tracing::debug!(lane, run, "{text}");
            }
            RunEvent::Rejected { .. }
            | RunEvent::Refused { .. }
            | RunEvent::Mismatch { .. }
            | RunEvent::Lost { .. }
            | RunEvent::Checked { why: Some(_), .. }
            | RunEvent::SourceStale { .. }
            | RunEvent::ConfigRefused { .. } => tracing::warn!(lane, run, "{text}"),
            _ => tracing::info!(lane, run, "{text}"),
        }
    }
}
