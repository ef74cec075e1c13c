//! Events: the one thing that output, logs, metrics and tests listen to.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Diagnostic;
use crate::hold::{Hold, Pin, Undo};
use crate::name::{Address, Lane, Name};
use crate::plan::Action;
use crate::revision::SourceNotice;
use crate::run::{PassEnd, RunCounts, RunEnd};

/// An event as it is stored: with its number and time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// Without gaps, from 1.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// The run, where it belongs to one.
    pub run: Option<String>,
    /// The lane, where it belongs to one.
    pub lane: Option<Lane>,
    /// What happened.
    #[serde(flatten)]
    pub event: RunEvent,
}

/// What happens in a run, as it happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum RunEvent {
    /// A revision came into force for a source.
    Fetched {
        /// The commit.
        revision: String,
        /// Its subject.
        subject: String,
        /// Its author.
        author: String,
    },
    /// Something about the source that an operator should know.
    SourceNotice {
        /// What.
        #[serde(flatten)]
        notice: SourceNotice,
    },
    /// A source cannot be asked; its last revision stays in force. Told once, not each poll.
    SourceStale {
        /// The source.
        source: Name,
        /// Since when.
        since: Timestamp,
        /// Why.
        why: String,
    },
    /// A source that could not be asked answers again.
    SourceBack {
        /// The source.
        source: Name,
    },
    /// The loop began.
    LoopBegan {
        /// The process.
        pid: u32,
    },
    /// The loop ended as it was told to.
    LoopEnded {
        /// The process.
        pid: u32,
    },
    /// Somebody asked a running daemon for something.
    Asked {
        /// The user, as the kernel says.
        who: String,
        /// What.
        what: String,
    },
    /// The config was read anew, and counts from now on.
    ConfigRead,
    /// The config was to be read anew and was refused; the old one stays.
    ConfigRefused {
        /// Why.
        why: String,
    },
    /// A pass of the loop failed; another is tried later. Told where it is new, not at each try.
    PassFailed {
        /// Why.
        why: String,
        /// Failures in a row, this one included.
        attempts: u32,
    },
    /// A source's server was asked. Told and never stored: it happens once per poll.
    Polled {
        /// The source.
        source: Name,
        /// Whether the server answered.
        good: bool,
        /// How long it took, in ms.
        ms: u64,
    },
    /// A pass of the loop ended. Told and never stored: it happens at each look.
    PassEnded {
        /// How.
        end: PassEnd,
        /// Resources whose drift this pass found and the one before had not.
        drifted: usize,
        /// How long it took, in ms.
        ms: u64,
    },
    /// A lane was rendered.
    Rendered {
        /// Resources.
        resources: usize,
        /// Whether the cache answered.
        cached: bool,
    },
    /// Git says something that cannot be planned.
    Rejected {
        /// What is wrong.
        diagnostics: Vec<Diagnostic>,
    },
    /// A guard stands on the target: it goes back unless it is told in time that all is well.
    Guarded {
        /// Until then.
        until: Timestamp,
    },
    /// A guard was told that all is well, or that there is nothing to take back.
    Confirmed {
        /// Who said so; none for the runtime itself, after its proof and checks.
        who: Option<String>,
    },
    /// A guard took everything back.
    TakenBack {
        /// Why.
        why: String,
    },
    /// A target was looked at.
    Observed {
        /// Subjects.
        subjects: usize,
    },
    /// A plan was made.
    Planned {
        /// Changes but `none`.
        changes: usize,
        /// The lane's digest.
        digest: String,
    },
    /// The plan waits.
    Waiting {
        /// Why, a sentence each.
        reasons: Vec<String>,
    },
    /// The gate refused.
    Refused {
        /// Why, a sentence each.
        reasons: Vec<String>,
    },
    /// Someone said yes.
    Approved {
        /// Who.
        who: String,
        /// How.
        how: String,
    },
    /// Someone said no.
    Declined {
        /// Who.
        who: String,
        /// Why, where they said so.
        comment: Option<String>,
    },
    /// Someone said yes to what had stopped every plan: a rewritten history, or another
    /// system under a target's name.
    Accepted {
        /// `source NAME` or `target NAME`.
        what: String,
        /// The commit or fingerprint that was known.
        from: String,
        /// The one that counts from now on.
        to: String,
        /// Who.
        who: String,
    },
    /// A copy of the store was put back: what happened after it was made is not known here.
    Restored {
        /// Who did it.
        who: String,
        /// When the copy was made, where that is known.
        taken: Option<Timestamp>,
        /// Where the store from before is kept, where there was one.
        kept: Option<String>,
    },
    /// Someone stopped or suspended lanes.
    Held {
        /// What was put in their way.
        hold: Hold,
    },
    /// A stop or suspension ended.
    HoldEnded {
        /// What it was.
        hold: Hold,
        /// Who ended it; `None` where its time was up.
        who: Option<String>,
    },
    /// Someone pinned a stack to an older revision.
    Pinned {
        /// What it is kept at.
        pin: Pin,
    },
    /// A pin ended.
    PinEnded {
        /// What it was.
        pin: Pin,
        /// Who ended it; `None` where its time was up.
        who: Option<String>,
    },
    /// Someone took back a change of a resource, which is kept so from now on.
    Undone {
        /// What it is kept at.
        undo: Box<Undo>,
    },
    /// A resource follows Git again.
    UndoEnded {
        /// What it was kept at.
        undo: Box<Undo>,
        /// Who ended it; `None` where Git says something else by now.
        who: Option<String>,
    },
    /// An apply began.
    ApplyBegan {
        /// Groups.
        groups: usize,
        /// Effects.
        effects: usize,
    },
    /// A change ended.
    ChangeEnded {
        /// Where.
        address: Address,
        /// What was done.
        action: Action,
        /// `done`, `failed`, `skipped`, `unknown`.
        end: String,
        /// Why, where it was not done.
        why: Option<String>,
    },
    /// A check of the stack was asked, until it held or its time was up.
    Checked {
        /// What it asks.
        check: String,
        /// Why it does not hold; `None` where it does.
        why: Option<String>,
    },
    /// Something of others that a change was to keep was lost with it.
    Lost {
        /// Where.
        address: Address,
        /// What, in a sentence.
        what: String,
    },
    /// After the apply, something is not as planned.
    Mismatch {
        /// Where.
        address: Address,
        /// What differs.
        why: String,
    },
    /// An open intent of a dead process was settled.
    Recovered {
        /// The run that died.
        run: String,
        /// Changes found done.
        done: usize,
        /// Changes found not done.
        not_done: usize,
    },
    /// A plugin said something.
    PluginLog {
        /// Who.
        plugin: String,
        /// How loud.
        level: String,
        /// What, tamed.
        message: String,
    },
    /// A plugin broke a rule or a limit, and was stopped.
    PluginFault {
        /// Who.
        plugin: String,
        /// Which call.
        call: String,
        /// What, tamed.
        message: String,
    },
    /// A run ended.
    Ended {
        /// How.
        end: RunEnd,
        /// Changes by what came of them.
        counts: RunCounts,
    },
}

impl RunEvent {
    /// Whether it is told to who listens and never stored: there are thousands a day, and
    /// what comes of them stands in the store anyway.
    #[must_use]
    pub fn is_fleeting(&self) -> bool {
        matches!(self, Self::Polled { .. } | Self::PassEnded { .. })
    }
}
