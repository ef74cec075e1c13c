//! `tidelock:machine/propose`: effects on a machine, as data. Nothing is performed
//! here, and nothing here can perform.

use std::sync::Arc;

use tidelock_model::digest::Digest;
use tidelock_model::effect::{AfterCrash, Attributes, EffectBody, PathState};
use tidelock_model::error::{Blame, Fault};
use wasmtime::Result;

use crate::bindings::propose::{self, Command, Common, File, Host};
use crate::bindings::types::Error;
use crate::call::CallState;
use crate::capability::machine_read::blocking;
use crate::proposals::{Offer, There};
use crate::provider::Pass;

impl Host for CallState {
    async fn put_file(&mut self, common: Common, file: File) -> Result<Result<(), Error>> {
        let Ok(content) = file.content.parse() else {
            return Err(self
                .door
                .broken(format!("proposed the content {:?}, which is not a digest", file.content))
                .into());
        };
        let body = EffectBody::PutFile {
            path: file.path,
            content,
            attributes: attributes(file.attributes),
            parents: file.parents,
            backup: file.backup,
            validate: file.validate,
        };
        self.propose("machine/propose.put-file", common, body).await
    }

    async fn put_text(&mut self, common: Common, path: String, text: String) -> Result<Result<(), Error>> {
        let body = EffectBody::PutFile {
            path,
            content: Digest::of(text.as_bytes()),
            attributes: Attributes { mode: Some(0o644), ..Attributes::default() },
            parents: true,
            backup: None,
            validate: None,
        };
        self.propose("machine/propose.put-text", common, body).await
    }

    async fn set_attributes(
        &mut self,
        common: Common,
        path: String,
        to: propose::Attributes,
    ) -> Result<Result<(), Error>> {
        self.propose(
            "machine/propose.set-attributes",
            common,
            EffectBody::SetAttributes { path, attributes: attributes(to) },
        )
        .await
    }

    async fn make_directory(
        &mut self,
        common: Common,
        path: String,
        with: propose::Attributes,
        parents: bool,
    ) -> Result<Result<(), Error>> {
        let body = EffectBody::MakeDirectory { path, attributes: attributes(with), parents };
        self.propose("machine/propose.make-directory", common, body).await
    }

    async fn link(&mut self, common: Common, path: String, to: String) -> Result<Result<(), Error>> {
        self.propose("machine/propose.link", common, EffectBody::Link { path, to }).await
    }

    async fn remove(&mut self, common: Common, path: String, tree: bool) -> Result<Result<(), Error>> {
        self.propose("machine/propose.remove", common, EffectBody::Remove { path, tree }).await
    }

    async fn exec(&mut self, common: Common, command: Command) -> Result<Result<(), Error>> {
        let Command { argv, cwd, env, timeout_ms } = command;
        self.propose("machine/propose.exec", common, EffectBody::Exec { argv, cwd, env, timeout_ms }).await
    }
}

fn attributes(attributes: propose::Attributes) -> Attributes {
    Attributes { mode: attributes.mode, owner: attributes.owner, group: attributes.group }
}

impl CallState {
    async fn propose(&mut self, function: &'static str, common: Common, body: EffectBody) -> Result<Result<(), Error>> {
        let offer = Offer {
            change: common.change,
            body,
            preconditions: common.precondition.into_iter().collect(),
            together: common.together,
            after_crash: match common.after_crash {
                propose::AfterCrash::Observe => AfterCrash::Observe,
                propose::AfterCrash::Repeat => AfterCrash::Repeat,
                propose::AfterCrash::Ask => AfterCrash::Ask,
            },
        };
        self.offer(function, offer, look).await
    }
}

/// What is at a path now, as a plan relies on it: with the digest of a file's content, and
/// the names in a directory.
async fn look(pass: Arc<Pass>, path: String) -> Result<There, Fault> {
    blocking(&pass, move |machine| {
        let paths = [path];
        let gone = || Fault::new("io", Blame::Host, "the target gave no answer");
        let state = machine.stat(&paths, true).pop().ok_or_else(gone)??.state;
        let names = match state {
            PathState::Directory { .. } => machine.list(&paths[0])?.unwrap_or_default(),
            _ => vec![],
        };
        Ok(There { state, names })
    })
    .await?
}
