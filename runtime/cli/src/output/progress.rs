//! One line on stderr that says what goes on, for work that takes a while, on a
//! terminal only. It is gone when the work is done.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tidelock_model::event::RunEvent;
use tidelock_model::name::Lane;
use tidelock_model::port::Listener;

use super::one_line;

/// Shorter work is not worth a line.
const PATIENCE: Duration = Duration::from_millis(400);

/// A terminal need not be written more often.
const PACE: Duration = Duration::from_millis(80);

/// Listens to a run and shows where it is.
pub(crate) struct Progress {
    shown: bool,
    line: Mutex<Line>,
}

struct Line {
    since: Instant,
    last: Option<Instant>,
    effects: usize,
    ended: usize,
    dirty: bool,
    quiet: bool,
    notices: Vec<String>,
}

impl Progress {
    /// Shows progress where stderr is a terminal and `wanted` says so.
    pub(crate) fn new(wanted: bool) -> Self {
        let line = Line {
            since: Instant::now(),
            last: None,
            effects: 0,
            ended: 0,
            dirty: false,
            quiet: false,
            notices: vec![],
        };
        Self { shown: wanted && std::io::stderr().is_terminal(), line: Mutex::new(line) }
    }

    /// Takes the line away, before something else is written or asked, and starts anew.
    pub(crate) fn clear(&self) {
        if let Ok(mut line) = self.line.lock() {
            line.wipe();
            line.since = Instant::now();
        }
    }

    /// What a person should know of the source, once.
    pub(crate) fn notices(&self) -> Vec<String> {
        self.line.lock().map(|mut line| std::mem::take(&mut line.notices)).unwrap_or_default()
    }
}

impl Line {
    fn wipe(&mut self) {
        if std::mem::take(&mut self.dirty) {
            drop(std::io::stderr().lock().write_all(b"\r\x1b[K"));
        }
    }

    fn say(&mut self, text: &str) {
        let now = Instant::now();
        if self.quiet || now - self.since < PATIENCE || self.last.is_some_and(|last| now - last < PACE) {
            return;
        }
        self.last = Some(now);
        self.dirty = true;
        let text: String = one_line(text).chars().take(78).collect();
        // A terminal that is gone is no reason to end a run.
        self.quiet = write!(std::io::stderr().lock(), "\r\x1b[K{text}").is_err();
    }
}

impl Listener for Progress {
    fn event(&self, _run: Option<&str>, lane: Option<&Lane>, event: &RunEvent) {
        let Ok(mut line) = self.line.lock() else { return };
        if let RunEvent::SourceNotice { notice } = event {
            let text = one_line(&format!("note: {notice}"));
            if !line.notices.contains(&text) {
                line.notices.push(text);
            }
        }
        if let RunEvent::Lost { address, what } = event {
            line.notices.push(one_line(&format!("warning: {}: {what}", address.resource)));
        }
        if !self.shown {
            return;
        }
        let place = lane.map(|lane| format!(" {}@{}", lane.stack, lane.target)).unwrap_or_default();
        match event {
            RunEvent::Fetched { subject, .. } => line.say(&format!("fetched: {subject}")),
            RunEvent::Rendered { resources, .. } => line.say(&format!("rendered{place}: {resources} resources")),
            RunEvent::Observed { subjects } => line.say(&format!("looked at{place}: {subjects} resources")),
            RunEvent::Planned { changes, .. } => line.say(&format!("planned{place}: {changes} changes")),
            RunEvent::ApplyBegan { effects, .. } => {
                line.effects += effects;
                let text = format!("applying{place}: {} effects", line.effects);
                line.say(&text);
            }
            RunEvent::ChangeEnded { address, .. } => {
                line.ended += 1;
                let text = format!("applying{place}: {} done, {}", line.ended, address.resource);
                line.say(&text);
            }
            RunEvent::Ended { .. } => line.wipe(),
            _ => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
        // A command that ended early told nobody, and this may be why it did.
        for notice in self.notices() {
            drop(writeln!(std::io::stderr().lock(), "{notice}"));
        }
    }
}
