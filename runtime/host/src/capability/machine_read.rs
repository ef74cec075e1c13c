//! `tidelock:machine/read`: looking at a machine, within the grant.

use std::sync::Arc;

use tidelock_model::effect::{PathState, Precondition, shown};
use tidelock_model::error::{Blame, Fault};
use tidelock_model::grant::{Access, ungranted};
use tidelock_target::Stat;
use wasmtime::Result;

use crate::bindings::read::{Ended, Entry, Host, Kind, Looked};
use crate::bindings::types::Error;
use crate::call::{CallState, Desk};
use crate::convert::to_guest;
use crate::eyes::MachineReads;
use crate::provider::Pass;

/// The most that `content` hands over.
const MAX_CONTENT: u64 = 16 << 20;
/// A user or group is no longer than this.
const MAX_WHO: usize = 256;

impl Host for CallState {
    async fn stat(&mut self, paths: Vec<String>, digest: bool) -> Result<Result<Vec<Looked>, Error>> {
        self.door.enter_read("machine/read.stat", paths.len())?;
        let pass = self.pass("machine/read.stat")?;
        let mut allowed = Vec::with_capacity(paths.len());
        let mut verdicts = Vec::with_capacity(paths.len());
        for path in paths {
            let verdict = self.allow(&pass, Access::Read(&path));
            if verdict.is_ok() {
                allowed.push(path);
            }
            verdicts.push(verdict);
        }
        let (allowed, answers) = match blocking(&pass, move |machine| {
            let answers = machine.stat(&allowed, digest);
            (allowed, answers)
        })
        .await
        {
            Ok(answered) => answered,
            Err(fault) => return Err(self.door.breach(fault).into()),
        };
        let mut answers = allowed.iter().zip(answers);
        let mut looked = Vec::with_capacity(verdicts.len());
        for verdict in verdicts {
            looked.push(match verdict {
                Err(fault) => Looked::Failed(to_guest(&fault)),
                Ok(()) => match answers.next() {
                    Some((path, Ok(stat))) => self.look(&pass, path, stat)?,
                    Some((_, Err(fault))) => Looked::Failed(to_guest(&fault)),
                    None => Looked::Failed(to_guest(&Fault::new("io", Blame::Host, "the target gave no answer"))),
                },
            });
        }
        Ok(Ok(looked))
    }

    async fn list(&mut self, path: String) -> Result<Result<Option<Vec<String>>, Error>> {
        self.door.enter_read("machine/read.list", 1)?;
        let pass = self.pass("machine/read.list")?;
        if let Err(fault) = self.allow(&pass, Access::Read(&path)) {
            return Ok(Err(to_guest(&fault)));
        }
        Ok(flat(blocking(&pass, move |machine| machine.list(&path)).await))
    }

    async fn content(&mut self, path: String, max: u32) -> Result<Result<Option<Vec<u8>>, Error>> {
        self.door.enter_read("machine/read.content", 1)?;
        let pass = self.pass("machine/read.content")?;
        if let Err(fault) = self.allow(&pass, Access::Read(&path)) {
            return Ok(Err(to_guest(&fault)));
        }
        let max = u64::from(max).min(MAX_CONTENT);
        Ok(flat(blocking(&pass, move |machine| machine.content(&path, max)).await))
    }

    async fn user(&mut self, name_or_number: String) -> Result<Result<Option<String>, Error>> {
        self.door.enter_read("machine/read.user", 1)?;
        let pass = self.pass("machine/read.user")?;
        if let Err(fault) = self.known(&pass, &name_or_number) {
            return Ok(Err(to_guest(&fault)));
        }
        Ok(flat(blocking(&pass, move |machine| machine.user(&name_or_number)).await))
    }

    async fn group(&mut self, name_or_number: String) -> Result<Result<Option<String>, Error>> {
        self.door.enter_read("machine/read.group", 1)?;
        let pass = self.pass("machine/read.group")?;
        if let Err(fault) = self.known(&pass, &name_or_number) {
            return Ok(Err(to_guest(&fault)));
        }
        Ok(flat(blocking(&pass, move |machine| machine.group(&name_or_number)).await))
    }

    async fn probe(&mut self, argv: Vec<String>, timeout_ms: u32) -> Result<Result<Ended, Error>> {
        self.door.enter_read("machine/read.probe", 1)?;
        let pass = self.pass("machine/read.probe")?;
        // A grant is for words; whose words they are, only the specs say.
        if !matches!(&self.desk, Desk::Target(_, commands, _) if commands.contains(&argv)) {
            let what = format!("ran `{}` to look, which stands in no spec that it was asked about", shown(&argv));
            return Err(self.door.broken(what).into());
        }
        if let Err(fault) = self.allow(&pass, Access::Probe(&argv)) {
            return Ok(Err(to_guest(&fault)));
        }
        // The call's own clock ends what takes longer, and the command with it.
        let ended = match pass.eyes.machine() {
            Ok(machine) => machine.probe(&argv, timeout_ms).await,
            Err(fault) => Err(fault),
        };
        Ok(match ended {
            Ok(ended) => Ok(Ended { code: ended.code, stdout: ended.stdout, stderr: ended.stderr, extras: vec![] }),
            Err(fault) => Err(to_guest(&fault)),
        })
    }
}

impl CallState {
    fn allow(&mut self, pass: &Pass, access: Access<'_>) -> Result<(), Fault> {
        self.door.decide(pass.eyes.grant(&self.door.plugin), pass.target.as_str(), access)
    }

    /// Users and groups are no paths; any grant on the target opens them.
    fn known(&mut self, pass: &Pass, who: &str) -> Result<(), Fault> {
        if who.len() > MAX_WHO {
            return Err(Fault::new("invalid", Blame::Plugin, format!("a user or group of more than {MAX_WHO} bytes")));
        }
        if pass.eyes.grant(&self.door.plugin).is_some() {
            return Ok(());
        }
        let fault = ungranted(&self.door.plugin, pass.target.as_str(), |_| Ok(()));
        self.door.denied(&fault);
        Err(fault)
    }

    fn look(&mut self, pass: &Pass, path: &str, stat: Stat) -> Result<Looked> {
        let Some(seen) = pass.seen.keep(Precondition::Path { path: path.to_owned(), state: stat.state.clone() }) else {
            return Err(self.door.broken("looked at more paths than one pass may").into());
        };
        let entry = |kind, mode, owner, group, digest, link_target| Entry {
            kind,
            size: stat.size,
            mode,
            owner,
            group,
            digest,
            link_target,
            seen: seen.clone(),
            extras: vec![],
        };
        let none = String::new;
        Ok(Looked::Found(match stat.state {
            PathState::Absent => return Ok(Looked::Absent(seen)),
            PathState::File { digest, mode, owner, group, .. } => {
                entry(Kind::File, mode, owner, group, digest.map(|digest| digest.to_string()), None)
            }
            PathState::Directory { mode, owner, group } => entry(Kind::Directory, mode, owner, group, None, None),
            PathState::Symlink { to } => entry(Kind::Symlink, 0o777, none(), none(), None, Some(to)),
            PathState::Other => entry(Kind::Other, 0, none(), none(), None, None),
        }))
    }
}

/// Reads away from the threads that run guests: a disk may be slow, and a network
/// file system may never answer.
pub(super) async fn blocking<T: Send + 'static>(
    pass: &Pass,
    work: impl FnOnce(&dyn MachineReads) -> T + Send + 'static,
) -> Result<T, Fault> {
    let machine = Arc::clone(pass.eyes.machine()?);
    tokio::task::spawn_blocking(move || work(&*machine))
        .await
        .map_err(|error| Fault::new("panic", Blame::Host, format!("a read of the target did not end: {error}")))
}

fn flat<T>(answer: Result<Result<T, Fault>, Fault>) -> Result<T, Error> {
    answer.and_then(|answer| answer).map_err(|fault| to_guest(&fault))
}
