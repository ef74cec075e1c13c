//! `tidelock:machine/propose`: effects on a machine, as data. Nothing is performed
//! here, and nothing here can perform.

use tidelock_model::effect::{AfterCrash, Attributes, EffectBody};
use wasmtime::Result;

use crate::bindings::propose::{self, Command, Common, File, Host};
use crate::bindings::types::Error;
use crate::call::{CallState, Desk};
use crate::convert::to_guest;
use crate::proposals::{Offer, Refusal};

impl Host for CallState {
    fn put_file(&mut self, common: Common, file: File) -> Result<Result<(), Error>> {
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
        self.propose("machine/propose.put-file", common, body)
    }

    fn set_attributes(&mut self, common: Common, path: String, to: propose::Attributes) -> Result<Result<(), Error>> {
        self.propose(
            "machine/propose.set-attributes",
            common,
            EffectBody::SetAttributes { path, attributes: attributes(to) },
        )
    }

    fn make_directory(
        &mut self,
        common: Common,
        path: String,
        with: propose::Attributes,
        parents: bool,
    ) -> Result<Result<(), Error>> {
        let body = EffectBody::MakeDirectory { path, attributes: attributes(with), parents };
        self.propose("machine/propose.make-directory", common, body)
    }

    fn link(&mut self, common: Common, path: String, to: String) -> Result<Result<(), Error>> {
        self.propose("machine/propose.link", common, EffectBody::Link { path, to })
    }

    fn remove(&mut self, common: Common, path: String, tree: bool) -> Result<Result<(), Error>> {
        self.propose("machine/propose.remove", common, EffectBody::Remove { path, tree })
    }

    fn exec(&mut self, common: Common, command: Command) -> Result<Result<(), Error>> {
        let Command { argv, cwd, env, timeout_ms } = command;
        self.propose("machine/propose.exec", common, EffectBody::Exec { argv, cwd, env, timeout_ms })
    }
}

fn attributes(attributes: propose::Attributes) -> Attributes {
    Attributes { mode: attributes.mode, owner: attributes.owner, group: attributes.group }
}

impl CallState {
    fn propose(&mut self, function: &'static str, common: Common, body: EffectBody) -> Result<Result<(), Error>> {
        self.door.enter(function, 1)?;
        let Desk::Target(pass, Some(proposals)) = &mut self.desk else {
            return Err(self.door.broken(format!("called {function} outside of `steps`")).into());
        };
        self.door.hand_over(serde_json::to_vec(&body).map_or(0, |text| text.len()) + 256)?;
        let offer = Offer {
            change: common.change,
            body,
            precondition: common.precondition,
            together: common.together,
            after_crash: match common.after_crash {
                propose::AfterCrash::Observe => AfterCrash::Observe,
                propose::AfterCrash::Repeat => AfterCrash::Repeat,
                propose::AfterCrash::Ask => AfterCrash::Ask,
            },
        };
        let grant = pass.machine.grant(&self.door.plugin);
        match proposals.take(offer, grant, &pass.seen, &self.door.plugin, pass.target.as_str()) {
            Ok(()) => Ok(Ok(())),
            // The operator's no: this change is refused, the others go on.
            Err(Refusal::Denied(fault)) => {
                self.door.denied(&fault);
                Ok(Err(to_guest(&fault)))
            }
            // A rule of the contract: nothing of this call counts.
            Err(Refusal::Broken(what)) => Err(self.door.broken(what).into()),
        }
    }
}
