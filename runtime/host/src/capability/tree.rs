//! `tidelock:tree/tree`: the files of the source. Every answer is recorded; a tree
//! that cannot answer ends the render, since a guest that passed over the error
//! would give an answer that no later revision could be compared with.

use tidelock_model::error::{Blame, Fault};
use tidelock_model::port::SourceError;
use tidelock_model::reads::{Question, module_path};
use wasmtime::Result;

use crate::bindings::renderer::tidelock::tree::tree::{Entry, Host, Kind};
use crate::bindings::types::Error;
use crate::call::CallState;
use crate::convert::to_guest;
use crate::meter::Stop;

/// Longer paths and patterns are none.
const MAX_PATH: usize = 4095;

impl Host for CallState {
    fn read(&mut self, path: String) -> Result<Result<Option<Vec<u8>>, Error>> {
        self.door.enter_read("tree.read", 1)?;
        if let Err(error) = short(&path) {
            return Ok(Err(error));
        }
        let desk = self.render("tree.read")?;
        let path = module_path(&desk.inputs.module, &path);
        let tree = desk.inputs.tree.clone();
        self.record(Question::File(path.clone()))?;
        // A directory is no file, for the guest as for the record.
        let entry = self.answered(tree.entry(&path))?;
        if entry.is_none_or(|entry| entry.is_dir()) {
            return Ok(Ok(None));
        }
        Ok(Ok(self.answered(tree.read(&path))?))
    }

    fn list(&mut self, path: String) -> Result<Result<Option<Vec<Entry>>, Error>> {
        self.door.enter_read("tree.list", 1)?;
        if let Err(error) = short(&path) {
            return Ok(Err(error));
        }
        let desk = self.render("tree.list")?;
        let path = module_path(&desk.inputs.module, &path);
        let tree = desk.inputs.tree.clone();
        self.record(Question::List(path.clone()))?;
        let entries = self.answered(tree.list(&path))?;
        Ok(Ok(entries.map(|entries| {
            entries
                .into_iter()
                .map(|entry| Entry {
                    kind: if entry.is_dir() { Kind::Directory } else { Kind::File },
                    size: entry.size,
                    name: entry.name,
                })
                .collect()
        })))
    }

    fn glob(&mut self, pattern: String) -> Result<Result<Vec<String>, Error>> {
        self.door.enter_read("tree.glob", 1)?;
        if let Err(error) = short(&pattern) {
            return Ok(Err(error));
        }
        let desk = self.render("tree.glob")?;
        match desk.inputs.tree.glob(&desk.inputs.module, &pattern) {
            // A pattern that cannot be read is one under every revision.
            Err(error) if error.code == "invalid" => Ok(Err(to_guest(&fault(error)))),
            answer => {
                let names = self.answered(answer)?;
                self.record(Question::Glob(pattern))?;
                Ok(Ok(names))
            }
        }
    }
}

impl CallState {
    fn answered<T>(&mut self, answer: Result<T, SourceError>) -> Result<T, Stop> {
        answer.map_err(|error| self.door.breach(fault(error)))
    }

    /// Records a question with the digest of its answer, once.
    pub(super) fn record(&mut self, question: Question) -> Result<(), Stop> {
        let desk = self.render("a read")?;
        let recorded = desk.record(question);
        let bytes = self.answered(recorded)?;
        if bytes > 0 {
            self.door.hand_over(bytes)?;
        }
        Ok(())
    }
}

fn short(path: &str) -> Result<(), Error> {
    if path.len() <= MAX_PATH && !path.contains('\0') {
        return Ok(());
    }
    Err(to_guest(&Fault::new("invalid", Blame::Plugin, format!("a path holds a NUL or more than {MAX_PATH} bytes"))))
}

fn fault(error: SourceError) -> Fault {
    let mut fault = Fault::new(&error.code, Blame::Target, error.message);
    fault.hint = error.hint;
    fault.retryable = error.retryable;
    fault
}
